//! What reads packets and decides: sensors, an engine, and the way from one to
//! the other.
//!
//! With one ring there is one, in the main thread; with several there is one for
//! each, in a thread of its own ([`super::shards`]). A shard never writes a line,
//! starts a program or looks up a name itself; those are queues away.

use std::sync::Arc;
use std::time::Duration;

use portsentry_capture::clock::monotonic;
use portsentry_capture::reactor::{Interest, wait};
use portsentry_capture::{ConnectStats, Drained, InterfaceLoss, SensorStats};
use portsentry_core::config::Settings;
use portsentry_core::{Effect, Engine, Observation, Outcome, Response, ResponseId, Statistics};
use portsentry_respond::Answer;

use super::decider::{Decider, ServedPorts};
use super::sensors::Sensors;
use crate::failure::Failure;
use portsentry_output::{LogItem, Queue};

/// Packets read before signals and outcomes get their turn.
const BATCH: usize = 4096;

/// How long packets are read after the end was asked for.
const LAST_PACKETS: Duration = Duration::from_millis(250);

/// How long the kernel may keep a block of packets: the longest latency of a
/// capture, 10 ms, and its rounding up to whole ticks.
const LAST_BLOCK: Duration = Duration::from_millis(25);

/// Sensors, and the engine that decides about what they see.
pub(crate) struct Shard {
    pub(crate) engine: Engine,
    pub(crate) sensors: Sensors,
    pub(crate) served: ServedPorts,
    /// For the decider.
    held: Vec<Observation>,
    queue: Arc<Queue>,
}

/// What a shard has seen, found and lost, when it ends.
#[derive(Debug)]
pub(crate) struct ShardStats {
    pub(crate) sensors: SensorStats,
    pub(crate) losses: Vec<InterfaceLoss>,
    /// In connect mode, what became of what was taken.
    pub(crate) answers: Option<ConnectStats>,
    pub(crate) engine: Statistics,
}

impl Shard {
    /// Events go to `queue`.
    pub(crate) fn new(
        engine: Engine,
        sensors: Sensors,
        served: ServedPorts,
        queue: &Arc<Queue>,
    ) -> Self {
        Self { engine, sensors, served, held: Vec::new(), queue: Arc::clone(queue) }
    }

    /// Reads one batch of packets, does what is due, and hands on what was
    /// decided; what is left to read makes the next wait short.
    pub(crate) fn poll_once(&mut self, respond: impl FnMut(&Response)) -> Result<Drained, Failure> {
        let drained = self.drain()?;
        self.engine.handle_timeout(monotonic());
        self.hand_on(respond);
        Ok(drained)
    }

    /// Puts what `settings` say of ports and banner in force, and whether served
    /// ports are to be known.
    pub(crate) fn set_settings(
        &mut self,
        settings: &Settings,
        service_check: bool,
    ) -> Result<(), Failure> {
        self.served.wanted = service_check;
        Ok(self.sensors.set_settings(settings)?)
    }

    /// Gives the engine the answer of the responder to its request `id`.
    pub(crate) fn handle_answer(&mut self, id: ResponseId, answer: Answer) {
        let now = monotonic();
        match answer {
            Answer::Ended(outcome) => self.engine.handle_outcome(id, outcome, now),
            Answer::Refused { limit, until } => self.engine.refuse(id, limit, until, now),
            // An answer that this version does not know leaves the host unblocked.
            _ => self.engine.handle_outcome(id, Outcome::Failed, now),
        }
    }

    fn drain(&mut self) -> Result<Drained, Failure> {
        let Self { engine, sensors, served, held, .. } = self;
        let mut decider = Decider { engine, served, held, now: monotonic() };
        Ok(sensors.drain(BATCH, &mut decider)?)
    }

    /// Gives events to the reporter and effects to `respond`; in that order,
    /// so that what is decided stands before the lines of the response that
    /// begins then.
    fn hand_on(&mut self, mut respond: impl FnMut(&Response)) {
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(LogItem::Event));
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                respond(&response);
            }
        }
    }

    /// Reads packets that came before the end was asked for. The kernel hands
    /// out the last of them when their block's time is over; under a flood they
    /// never end, so the time is bounded.
    pub(crate) fn drain_remaining(&mut self, mut respond: impl FnMut(&Response)) {
        let asked = monotonic();
        let (block, flood) = (asked.after(LAST_BLOCK), asked.after(LAST_PACKETS));
        while monotonic() < flood {
            let drained = self.drain();
            self.hand_on(&mut respond);
            let left = block.since(monotonic());
            // A sensor that breaks now has nothing more to say.
            match (drained, self.sensors.descriptor()) {
                (Ok(Drained::More), _) => {}
                (Ok(_), Some(descriptor)) if !left.is_zero() => {
                    // The loop checks the time again, whatever the result is.
                    let _ = wait([Some(Interest::readable(descriptor))], Some(left));
                }
                _ => return,
            }
        }
    }

    /// Tells of every probe that waits, and of what was seen in all.
    pub(crate) fn close(mut self) -> ShardStats {
        self.engine.close();
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(LogItem::Event));
        ShardStats {
            sensors: self.sensors.stats(),
            losses: self.sensors.losses(),
            answers: self.sensors.answers(),
            engine: self.engine.statistics(),
        }
    }
}
