//! The running sentry: one thread that waits, reads, decides and hands on.
//!
//! This thread owns sensors and engine. It never writes a line, starts a
//! program or looks up a name itself; those are queues away.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portsentry_capture::{Drained, served_ports};
use portsentry_core::{Effect, Engine, Instant, Observation, Reason};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;
use crate::report::{Item, Level, Queue};
use crate::responder::Responder;
use crate::sensors::Sensors;
use crate::service::Manager;
use crate::signals::Signals;
use crate::summary::Summary;
use crate::time::monotonic;

/// Packets read before signals and outcomes get their turn.
const BATCH: usize = 4096;

/// Observations that are decided about together: as many as the engine fetches
/// from memory at once.
const HELD: usize = 64;

/// How old the snapshot of served ports may be when a packet is decided about.
const SERVED_PORTS_AGE: Duration = Duration::from_millis(250);

/// How long packets are read after the end was asked for.
const LAST_PACKETS: Duration = Duration::from_millis(250);

/// How long the kernel may keep a block of packets: the longest latency of a
/// capture, 10 ms, and its rounding up to whole ticks.
const LAST_BLOCK: Duration = Duration::from_millis(25);

/// Everything that runs.
pub(crate) struct Sentry {
    pub(crate) engine: Engine,
    pub(crate) sensors: Sensors,
    pub(crate) served: ServedPorts,
    /// For [`Decider::held`].
    pub(crate) held: Vec<Observation>,
    pub(crate) responder: Responder,
    pub(crate) queue: Arc<Queue>,
    pub(crate) signals: Signals,
    pub(crate) heartbeat: Heartbeat,
}

/// Decides about what the sensors read in one go.
pub(crate) struct Decider<'a> {
    engine: &'a mut Engine,
    served: &'a mut ServedPorts,
    /// Observations that wait to be decided about together, at most [`HELD`].
    held: &'a mut Vec<Observation>,
    now: Instant,
}

impl Decider<'_> {
    /// Decides at once.
    pub(crate) fn decide(&mut self, observation: &Observation) -> Reason {
        self.served.refresh(self.engine, self.now);
        self.engine.observe(observation, self.now).reason
    }

    /// Decides when enough are held, or when
    /// [`decide_held`](Self::decide_held) says so.
    pub(crate) fn hold(&mut self, observation: &Observation) {
        self.held.push(*observation);
        if self.held.len() >= HELD {
            self.decide_held();
        }
    }

    /// Decides about all that are held.
    pub(crate) fn decide_held(&mut self) {
        if !self.held.is_empty() {
            self.served.refresh(self.engine, self.now);
            self.engine.observe_batch(self.held, self.now);
            self.held.clear();
        }
    }
}

/// Why [`Sentry::run`] came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The configuration is to be read again.
    Reload,
    /// These networks are never to be acted on from now on.
    NeverBlockChanged(Vec<IpNet>),
    /// The end.
    Terminate,
}

impl Sentry {
    /// Watches until something is wanted that this thread does not do alone.
    pub(crate) fn run(&mut self) -> Result<Interrupted, Failure> {
        loop {
            self.wait()?;
            self.heartbeat.beat(monotonic());
            self.signals.clear();
            if self.signals.terminate() {
                return Ok(Interrupted::Terminate);
            }
            if self.signals.take_reload() {
                return Ok(Interrupted::Reload);
            }
            self.take_outcomes();
            if let Some(networks) = self.responder.never_block() {
                return Ok(Interrupted::NeverBlockChanged(networks));
            }
            self.drain()?;
            self.engine.handle_timeout(monotonic());
            self.hand_on();
        }
    }

    /// Waits for packets, outcomes, signals, or the time of something.
    fn wait(&self) -> Result<(), Failure> {
        let readable = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
        let signals = self.signals.descriptor();
        let responder = self.responder.interest().unwrap_or_else(|| readable(signals));
        // A sensor without a descriptor is always ready.
        let sensors = self.sensors.descriptor();
        let mut descriptors = [readable(signals), responder, readable(sensors.unwrap_or(signals))];
        let due = [self.engine.poll_timeout(), self.heartbeat.due].into_iter().flatten().min();
        let timeout = match (sensors, due) {
            _ if self.responder.has_outcomes() => Some(Timespec::default()),
            (None, _) => Some(Timespec::default()),
            (Some(_), None) => None,
            (Some(_), Some(due)) => {
                let left = due.since(monotonic());
                Some(Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 }))
            }
        };
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Failure::system("cannot wait for packets")(error)),
        }
    }

    /// Reads one batch of packets; what is left makes the next wait short.
    fn drain(&mut self) -> Result<Drained, Failure> {
        let Self { engine, sensors, served, held, .. } = self;
        let mut decider = Decider { engine, served, held, now: monotonic() };
        Ok(sensors.drain(BATCH, &mut decider)?)
    }

    fn take_outcomes(&mut self) {
        let now = monotonic();
        for (id, outcome) in self.responder.outcomes() {
            self.engine.handle_outcome(id, outcome, now);
        }
    }

    /// Gives events to the reporter and effects to the responder; in that order,
    /// so that what is decided stands before the lines of the response that
    /// begins then.
    fn hand_on(&mut self) {
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(Item::Event));
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                self.responder.respond(&response);
            }
        }
    }

    /// Ends in good order: reads what the kernel still holds, lets running
    /// responses end, and tells of every probe that waits.
    pub(crate) fn close(mut self) -> Summary {
        self.take_outcomes();
        self.read_what_is_left();
        let (outcomes, unfinished) = self.responder.finish();
        for (id, outcome) in outcomes {
            self.engine.handle_outcome(id, outcome, monotonic());
        }
        self.engine.close();
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(Item::Event));
        if unfinished.not_begun + unfinished.not_ended > 0 {
            let line = format!(
                "{} responses were not begun and {} did not end in time",
                unfinished.not_begun, unfinished.not_ended
            );
            self.queue.push(Item::Line(Level::Error, line));
        }
        let (sensors, losses) = (self.sensors.stats(), self.sensors.losses());
        let (answers, engine) = (self.sensors.answers(), self.engine.statistics());
        let (probes, displaced) = (engine.probes(), engine.into());
        Summary { sensors, losses, answers, probes, displaced, live: true }
    }

    /// Reads packets that came before the end was asked for. The kernel hands
    /// out the last of them when their block's time is over; under a flood they
    /// never end, so the time is bounded.
    fn read_what_is_left(&mut self) {
        let asked = monotonic();
        let (block, flood) = (asked.after(LAST_BLOCK), asked.after(LAST_PACKETS));
        while monotonic() < flood {
            let drained = self.drain();
            self.hand_on();
            let left = block.since(monotonic());
            // A sensor that breaks now has nothing more to say.
            match (drained, self.sensors.descriptor()) {
                (Ok(Drained::More), _) => {}
                (Ok(_), Some(descriptor)) if !left.is_zero() => {
                    let mut interest = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
                    // Whatever comes of it, the time is looked at again.
                    let _ = poll(&mut interest, Timespec::try_from(left).ok().as_ref());
                }
                _ => return,
            }
        }
    }
}

/// The engine's snapshot of served ports, kept fresh while packets arrive.
#[derive(Debug)]
pub(crate) struct ServedPorts {
    /// Whether anyone asks for it.
    pub(crate) wanted: bool,
    taken: Option<Instant>,
    /// The last one could not be taken, and that was said.
    fails: bool,
}

impl ServedPorts {
    pub(crate) const fn new(wanted: bool) -> Self {
        Self { wanted, taken: None, fails: false }
    }

    /// Takes a new snapshot if the last one is too old; most calls only compare
    /// two numbers. Without packets, nothing is asked of the kernel.
    fn refresh(&mut self, engine: &mut Engine, now: Instant) {
        let fresh = self.taken.is_some_and(|taken| now.since(taken) < SERVED_PORTS_AGE);
        if fresh || !self.wanted {
            return;
        }
        self.taken = Some(now);
        match served_ports() {
            Ok(served) => {
                engine.set_served_ports(served);
                if std::mem::take(&mut self.fails) {
                    log::warn!("which ports are served can be seen again");
                }
            }
            // Once, not four times a second.
            Err(error) if !std::mem::replace(&mut self.fails, true) => {
                log::warn!(
                    "cannot see which ports are served, and goes by what it saw last: {error}"
                );
            }
            Err(_) => {}
        }
    }
}

/// Tells the service manager's watchdog that the packet thread goes round.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) manager: Manager,
    due: Option<Instant>,
}

impl Heartbeat {
    pub(crate) fn new(manager: Manager) -> Self {
        let due = manager.interval().map(|_| monotonic());
        Self { manager, due }
    }

    fn beat(&mut self, now: Instant) {
        if let (Some(due), Some(interval)) = (self.due, self.manager.interval())
            && now >= due
        {
            self.manager.alive();
            self.due = Some(now.after(interval));
        }
    }
}
