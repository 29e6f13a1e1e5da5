//! The way from an observation to the engine.

use std::time::Duration;

use portsentry_capture::served_ports;
use portsentry_core::{Engine, Instant, Observation, Reason};

/// Observations that are decided about together: as many as the engine fetches
/// from memory at once.
const HELD: usize = 64;

/// How old the snapshot of served ports may be when a packet is decided about.
const SERVED_PORTS_AGE: Duration = Duration::from_millis(250);

/// Decides about what the sensors read in one go.
pub(crate) struct Decider<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) served: &'a mut ServedPorts,
    /// Observations that wait to be decided about together, at most [`HELD`].
    pub(super) held: &'a mut Vec<Observation>,
    pub(super) now: Instant,
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
