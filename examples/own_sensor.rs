//! A sensor outside this project, and the loop around the engine with a responder.
//!
//! The sensor reads the log of a honeypot: lines of `SOURCE TARGET PORT` on standard
//! input. The third line of a source "blocks" it, which only prints a line here.

use std::io::{self, StdinLock};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Instant as Clock;

use portsentry_capture::{Drained, Sensor, SensorError, SensorStats};
use portsentry_core::{Effect, Engine, HashKey, Instant, Limits, Observation, Outcome, Policy};
use portsentry_report::EventLine;

/// Makes one observation of each line.
struct HoneypotLog {
    lines: io::Lines<StdinLock<'static>>,
    start: Clock,
    stats: SensorStats,
}

impl HoneypotLog {
    /// Monotonic time. The log has no time stamps: a line counts when it is read.
    fn now(&self) -> Instant {
        Instant::from_nanos(self.start.elapsed().as_nanos() as u64)
    }
}

impl Sensor for HoneypotLog {
    fn name(&self) -> &str {
        "honeypot log"
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        for _ in 0..budget {
            let Some(line) = self.lines.next() else { return Ok(Drained::End) };
            let line = line.map_err(|source| SensorError::io(self.name(), source))?;
            self.stats.received += 1;
            if let Some(observation) = parse(&line, self.now()) {
                sink(&observation);
            }
        }
        Ok(Drained::More)
    }

    fn stats(&mut self) -> SensorStats {
        self.stats.clone()
    }
}

fn parse(line: &str, now: Instant) -> Option<Observation> {
    let mut words = line.split_whitespace();
    let source = SocketAddr::new(words.next()?.parse().ok()?, 0);
    let target = SocketAddr::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // A honeypot completes the handshake: the source is not forged.
    Some(Observation::connection(source, target).at(now))
}

fn main() -> Result<(), SensorError> {
    let policy = Policy {
        tcp_ports: (1..=u16::MAX).collect(),
        scan_trigger: 3,
        block_tcp: true,
        remember_blocked: true,
        ..Policy::default()
    };
    let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));
    let start = Clock::now();
    let stats = SensorStats::default();
    let mut sensor = HoneypotLog { lines: io::stdin().lines(), start, stats };
    let now = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    loop {
        let drained = sensor.drain(64, &mut |observation| {
            engine.observe(observation, now());
        })?;
        while let Some(effect) = engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                println!("blocking {}", response.probe.source);
                engine.handle_outcome(response.id, Outcome::Succeeded, now());
            }
        }
        while let Some(event) = engine.poll_event() {
            println!("{}", EventLine::new(&event));
        }
        if drained == Drained::End {
            return Ok(());
        }
    }
}
