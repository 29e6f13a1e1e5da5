//! Several engines on several threads, with one limit for their responses.
//!
//! Usage: `sharded ENGINES FILE`. The main thread reads a capture file and passes each
//! observation to the engine that owns its source. It also owns the response rate: an
//! engine asks for a response, and the main thread performs or refuses it.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use portsentry_capture::{CaptureFile, Drained, Sensor, SensorError};
use portsentry_core::{
    Effect, Engine, Event, HashKey, Instant, Limits, Observation, Outcome, Policy, PortSet,
    RateLimit, Response, ResponseId, Statistics,
};
use portsentry_report::EventLine;

/// Responses of all engines in any 60 seconds.
const RATE: u32 = 10;
/// Commands that may wait for an engine.
const WAITING: usize = 64;

/// Messages to an engine.
enum Command {
    Observe(Vec<Observation>),
    Finish(ResponseId, Outcome, Instant),
    Refuse(ResponseId, Instant, Instant),
    /// Send [`Notice::Synced`] after everything before.
    Sync,
}

/// Messages from an engine.
enum Notice {
    Event(Event),
    Respond(Response),
    Synced,
    Closed(Statistics),
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [engines, file] = words.as_slice() else {
        eprintln!("usage: sharded ENGINES FILE");
        return ExitCode::from(2);
    };
    let Some(engines) = engines.parse().ok().filter(|engines| *engines > 0) else {
        eprintln!("sharded: the number of engines must be at least 1");
        return ExitCode::from(2);
    };
    match run(engines, file) {
        Ok(statistics) => {
            println!("{} observations, {} probes", statistics.observations(), statistics.probes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(engines: usize, file: &str) -> Result<Statistics, SensorError> {
    // The limit of the main thread replaces those of the engines: `block_rate` is 0.
    let policy = Policy {
        tcp_ports: PortSet::all(),
        block_tcp: true,
        remember_blocked: true,
        ..Policy::default()
    };
    // Together the engines keep to the limits of one.
    let limits = Limits::default().divided_by(engines);
    let key = HashKey::random();
    let mut sensor = CaptureFile::open(file)?;
    let mut shards = Shards::start(engines, &policy, &limits, &key);
    let mut batches = vec![Vec::new(); engines];
    loop {
        let drained = sensor.drain(1024, &mut |observation| {
            // All observations of a source go to one engine, in order.
            batches[key.shard(observation.source, engines)].push(*observation);
            shards.now = observation.at;
        })?;
        for (owner, batch) in batches.iter_mut().enumerate() {
            shards.send(owner, Command::Observe(std::mem::take(batch)));
        }
        shards.handle_notices();
        if drained == Drained::End {
            return Ok(shards.finish());
        }
    }
}

/// The engines, as the main thread sees them.
struct Shards {
    commands: Vec<SyncSender<Command>>,
    notices: Receiver<Notice>,
    rate: RateLimit,
    /// Time of the last packet.
    now: Instant,
}

impl Shards {
    fn start(engines: usize, policy: &Policy, limits: &Limits, key: &HashKey) -> Self {
        let (sender, notices) = channel();
        let commands = (0..engines)
            .map(|owner| {
                // The id of a response names its engine.
                let engine = Engine::new(policy.clone(), limits, key.clone())
                    .with_response_ids(owner as u64, engines as u64);
                let (commands, received) = sync_channel(WAITING);
                let notices = sender.clone();
                thread::spawn(move || decide(engine, &received, &notices));
                commands
            })
            .collect();
        Self { commands, notices, rate: RateLimit::default(), now: Instant::default() }
    }

    fn send(&self, owner: usize, command: Command) {
        self.commands[owner].send(command).expect("the engine runs while its sender exists");
    }

    /// Handles the notices that are there, without waiting.
    fn handle_notices(&mut self) {
        while let Ok(notice) = self.notices.try_recv() {
            self.handle(notice);
        }
    }

    /// Prints an event, or performs a response, which only prints a line here. Returns
    /// whether the engine has a new command.
    fn handle(&mut self, notice: Notice) -> bool {
        let response = match notice {
            Notice::Respond(response) => response,
            Notice::Event(event) => {
                println!("{}", EventLine::new(&event));
                return false;
            }
            Notice::Synced | Notice::Closed(_) => return false,
        };
        let owner = (response.id.as_u64() % self.commands.len() as u64) as usize;
        if self.rate.take(self.now, RATE) {
            println!("blocking {}", response.probe.source);
            self.send(owner, Command::Finish(response.id, Outcome::Succeeded, self.now));
        } else {
            let until = self.rate.free_at(RATE);
            self.send(owner, Command::Refuse(response.id, until, self.now));
        }
        true
    }

    /// Waits until no engine asks for a response any more, closes all, and returns the
    /// sum of their statistics.
    fn finish(mut self) -> Statistics {
        let engines = self.commands.len();
        let mut again = true;
        while std::mem::take(&mut again) {
            (0..engines).for_each(|owner| self.send(owner, Command::Sync));
            let mut synced = 0;
            while synced < engines {
                let Ok(notice) = self.notices.recv() else { break };
                synced += usize::from(matches!(notice, Notice::Synced));
                again |= self.handle(notice);
            }
        }
        // Without senders, the engines end.
        self.commands.clear();
        let mut statistics = Statistics::default();
        while let Ok(notice) = self.notices.recv() {
            if let Notice::Closed(of_one) = &notice {
                statistics.merge(of_one);
            }
            self.handle(notice);
        }
        statistics
    }
}

/// The thread of one engine.
fn decide(mut engine: Engine, commands: &Receiver<Command>, notices: &Sender<Notice>) {
    // The main thread receives until the last engine has ended.
    let send = |notice| notices.send(notice).expect("the main thread receives");
    for command in commands {
        let mut synced = false;
        match command {
            Command::Observe(batch) => {
                for observation in &batch {
                    engine.observe(observation, observation.at);
                    engine.handle_timeout(observation.at);
                }
            }
            Command::Finish(id, outcome, now) => engine.handle_outcome(id, outcome, now),
            Command::Refuse(id, until, now) => engine.refuse(id, RATE, until, now),
            Command::Sync => synced = true,
        }
        while let Some(effect) = engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                send(Notice::Respond(response));
            }
        }
        while let Some(event) = engine.poll_event() {
            send(Notice::Event(event));
        }
        if synced {
            send(Notice::Synced);
        }
    }
    engine.close();
    while let Some(event) = engine.poll_event() {
        send(Notice::Event(event));
    }
    send(Notice::Closed(engine.statistics()));
}
