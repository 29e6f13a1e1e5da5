//! What reads packets and decides: sensors, an engine, and the way from one to
//! the other.
//!
//! With one ring there is one, in the main thread; with several there is one for
//! each, in a thread of its own ([`crate::shards`]). A shard never writes a line,
//! starts a program or looks up a name itself; those are queues away.

use std::sync::Arc;
use std::time::Duration;

use portsentry_capture::{ConnectStats, Drained, InterfaceLoss, SensorStats, served_ports};
use portsentry_core::config::Settings;
use portsentry_core::{Effect, Engine, Instant, Observation, Reason, Response, Statistics};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::failure::Failure;
use crate::report::{Item, Queue};
use crate::sensors::Sensors;
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

/// Sensors, and the engine that decides about what they see.
pub(crate) struct Shard {
    pub(crate) engine: Engine,
    pub(crate) sensors: Sensors,
    pub(crate) served: ServedPorts,
    /// For [`Decider::held`].
    held: Vec<Observation>,
    queue: Arc<Queue>,
}

/// What a shard has seen, found and lost, when it ends.
#[derive(Debug)]
pub(crate) struct Account {
    pub(crate) sensors: SensorStats,
    pub(crate) losses: Vec<InterfaceLoss>,
    /// In connect mode, what became of what was taken.
    pub(crate) answers: Option<ConnectStats>,
    pub(crate) engine: Statistics,
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
    pub(crate) fn turn(&mut self, respond: impl FnMut(&Response)) -> Result<Drained, Failure> {
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

    fn drain(&mut self) -> Result<Drained, Failure> {
        let Self { engine, sensors, served, held, .. } = self;
        let mut decider = Decider { engine, served, held, now: monotonic() };
        Ok(sensors.drain(BATCH, &mut decider)?)
    }

    /// Gives events to the reporter and effects to `respond`; in that order,
    /// so that what is decided stands before the lines of the response that
    /// begins then.
    fn hand_on(&mut self, mut respond: impl FnMut(&Response)) {
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(Item::Event));
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                respond(&response);
            }
        }
    }

    /// Reads packets that came before the end was asked for. The kernel hands
    /// out the last of them when their block's time is over; under a flood they
    /// never end, so the time is bounded.
    pub(crate) fn read_what_is_left(&mut self, mut respond: impl FnMut(&Response)) {
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
                    let mut interest = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
                    // Whatever comes of it, the time is looked at again.
                    let _ = poll(&mut interest, Timespec::try_from(left).ok().as_ref());
                }
                _ => return,
            }
        }
    }

    /// Tells of every probe that waits, and of what was seen in all.
    pub(crate) fn close(mut self) -> Account {
        self.engine.close();
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(Item::Event));
        Account {
            sensors: self.sensors.stats(),
            losses: self.sensors.losses(),
            answers: self.sensors.answers(),
            engine: self.engine.statistics(),
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
