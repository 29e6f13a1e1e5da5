//! A shard: sensors, an engine, and the connection between them.
//!
//! With one ring there is one shard, in the main thread; with several rings, each has a shard in a
//! separate thread ([`super::shards`]). A shard never writes a line, starts a program or looks up a
//! name; it passes such work to queues.

use std::sync::Arc;
use std::time::Duration;

use portsentry_capture::clock::monotonic;
use portsentry_capture::reactor::{Interest, wait};
use portsentry_capture::{ConnectStats, Drained, InterfaceLoss, LookupStats, SensorStats};
use portsentry_core::{
    Effect, Engine, Instant, Limits, Observation, Outcome, Response, ResponseId, Statistics,
    TranslatedPorts,
};
use portsentry_respond::Answer;

use super::decider::Decider;
use super::sensors::{SensorSettings, Sensors};
use super::served::ServedPorts;
use crate::failure::Failure;
use portsentry_output::{LogItem, Queue};

/// Number of packets that are read before signals and outcomes are handled.
const BATCH: usize = 4096;

/// Time for which packets are read after the end was requested.
const LAST_PACKETS: Duration = Duration::from_millis(250);

/// Longest time that the kernel holds a block of packets: the longest latency of a capture, 10 ms,
/// rounded up to whole ticks.
const LAST_BLOCK: Duration = Duration::from_millis(25);

/// Returns the limits of the engine of each of `shards` shards.
pub(crate) fn limits(shards: usize) -> Limits {
    Limits::default()
        .divided_by(shards)
        // The responder answers every request, and the client does when the responder has ended. A
        // response may take long: 1,024 of them share 8 threads, and each action may take an hour.
        .response_timeout(None)
        // Events leave the engine after each batch. A batch is a whole ring when an interface
        // disappears, and none of its probes may be missing in the log.
        .events(usize::MAX)
}

/// Sensors, and the engine that decides their observations.
pub(crate) struct Shard {
    pub(crate) engine: Engine,
    pub(crate) sensors: Sensors,
    pub(crate) served: ServedPorts,
    /// Input of the decider.
    held: Vec<Observation>,
    queue: Arc<Queue>,
}

/// Numbers of packets, probes and losses of a shard, at its end.
#[derive(Debug)]
pub(crate) struct ShardStats {
    pub(crate) sensors: SensorStats,
    pub(crate) losses: Vec<InterfaceLoss>,
    /// In connect mode, the outcomes of the accepted connections and datagrams.
    pub(crate) answers: Option<ConnectStats>,
    pub(crate) engine: Statistics,
    /// Answers of the kernel about the sockets of packets.
    pub(crate) lookups: LookupStats,
}

impl Shard {
    /// Creates a shard that sends events to `queue`.
    pub(crate) fn new(
        engine: Engine,
        sensors: Sensors,
        served: ServedPorts,
        queue: &Arc<Queue>,
    ) -> Self {
        Self { engine, sensors, served, held: Vec::new(), queue: Arc::clone(queue) }
    }

    /// Reads one batch of packets, runs everything that is due, and passes on the decisions. If
    /// packets remain, the next wait returns immediately.
    pub(crate) fn poll_once(&mut self, respond: impl FnMut(&Response)) -> Result<Drained, Failure> {
        let drained = self.drain()?;
        let now = monotonic();
        self.engine.handle_timeout(now);
        if self.served.due().is_some_and(|due| due <= now) {
            self.served.refresh(&mut self.engine, now);
        }
        self.hand_on(respond);
        Ok(drained)
    }

    /// Returns the time at which to call [`poll_once`](Self::poll_once) even without packets.
    pub(crate) fn due(&self) -> Option<Instant> {
        [self.engine.poll_timeout(), self.served.due()].into_iter().flatten().min()
    }

    /// Applies `settings`.
    pub(crate) fn set_settings(&mut self, settings: &SensorSettings) -> Result<(), Failure> {
        self.served.set(settings.service_check, settings.served_grace);
        // A service that stops right after the start was served, too.
        self.served.refresh(&mut self.engine, monotonic());
        Ok(self.sensors.set_settings(settings)?)
    }

    /// Sets the ports that need no socket.
    pub(crate) fn set_translated(&mut self, ports: Arc<[TranslatedPorts]>) {
        self.served.set_translated(ports);
    }

    /// Passes the answer of the responder to request `id` to the engine.
    pub(crate) fn handle_answer(&mut self, id: ResponseId, answer: Answer) {
        let now = monotonic();
        match answer {
            Answer::Ended(outcome) => self.engine.handle_outcome(id, outcome, now),
            Answer::Refused { limit, until } => self.engine.refuse(id, limit, until, now),
            Answer::Prevented { scope, until } => self.engine.prevent(id, scope, until, now),
            // An answer that this version does not know leaves the host unblocked.
            _ => self.engine.handle_outcome(id, Outcome::Failed, now),
        }
    }

    fn drain(&mut self) -> Result<Drained, Failure> {
        let Self { engine, sensors, served, held, .. } = self;
        let mut decider = Decider { engine, served, held, now: monotonic() };
        Ok(sensors.drain(BATCH, &mut decider)?)
    }

    /// Passes events to the reporter and then effects to `respond`. In this order, the line of a
    /// decision precedes the lines of its response.
    fn hand_on(&mut self, mut respond: impl FnMut(&Response)) {
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(LogItem::Event));
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                respond(&response);
            }
        }
    }

    /// Reads packets that arrived before the end was requested. The kernel delivers the last of
    /// them when the time of their block is over. Under a flood there are always more, so the time
    /// is limited.
    pub(crate) fn drain_remaining(&mut self, mut respond: impl FnMut(&Response)) {
        let asked = monotonic();
        let (block, flood) = (asked.after(LAST_BLOCK), asked.after(LAST_PACKETS));
        while monotonic() < flood {
            let drained = self.drain();
            self.hand_on(&mut respond);
            let left = block.since(monotonic());
            // A sensor that fails now has nothing left to report.
            match (drained, self.sensors.descriptor()) {
                (Ok(Drained::More), _) => {}
                (Ok(_), Some(descriptor)) if !left.is_zero() => {
                    // The loop checks the time again, so the result is not needed.
                    let _ = wait([Some(Interest::readable(descriptor))], Some(left));
                }
                _ => return,
            }
        }
    }

    /// Logs every waiting probe, and returns the totals.
    pub(crate) fn close(mut self) -> ShardStats {
        self.engine.close();
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(LogItem::Event));
        ShardStats {
            sensors: self.sensors.stats(),
            losses: self.sensors.losses(),
            answers: self.sensors.answers(),
            engine: self.engine.statistics(),
            lookups: self.served.lookups(),
        }
    }
}

#[cfg(test)]
mod tests {
    use portsentry_core::{HashKey, Policy, TcpFlags};

    use super::*;

    fn engine(shards: usize) -> Engine {
        let policy = Policy {
            tcp_ports: [23].into_iter().collect(),
            block_tcp: true,
            remember_blocked: true,
            ..Policy::default()
        };
        Engine::new(policy, &limits(shards), HashKey::new(1))
    }

    fn probe(host: u32) -> Observation {
        let source = std::net::Ipv4Addr::from(0x0a00_0000 + host);
        let target = "198.51.100.1:23".parse().unwrap();
        Observation::segment((source, 4000).into(), target, TcpFlags::SYN)
    }

    #[test]
    fn a_response_that_waits_for_hours_behind_others_still_counts() {
        let mut engine = engine(1);
        engine.observe(&probe(1), Instant::from_secs(1));
        let Some(Effect::Respond(response)) = engine.poll_effect() else { panic!("no response") };
        let late = Instant::from_secs(24 * 3600);
        engine.handle_timeout(late);
        engine.handle_outcome(response.id, Outcome::Succeeded, late);
        assert!(engine.is_blocked(response.probe.source));
        assert_eq!(engine.statistics().responses_timed_out, 0);
    }

    #[test]
    fn no_event_of_a_large_batch_is_lost() {
        let mut engine = engine(16);
        let probes = 1 << 16;
        for host in 0..probes {
            engine.observe(&probe(host), Instant::from_secs(1));
        }
        let answered = std::iter::from_fn(|| engine.poll_effect()).count();
        let reported = std::iter::from_fn(|| engine.poll_event()).count();
        assert_eq!(answered + reported, probes as usize);
        assert_eq!(engine.statistics().events_lost, 0);
    }
}
