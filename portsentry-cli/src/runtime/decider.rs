//! Passes observations to the engine.

use portsentry_core::{Engine, Instant, Observation, Reason};

use super::served::ServedPorts;

/// Number of observations that are decided together: as many as the engine prefetches in one batch.
const HELD: usize = 64;

/// Decides the observations that the sensors read in one batch.
pub(crate) struct Decider<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) served: &'a mut ServedPorts,
    /// Observations that wait for a decision, at most [`HELD`].
    pub(super) held: &'a mut Vec<Observation>,
    pub(super) now: Instant,
}

impl Decider<'_> {
    /// Decides immediately.
    pub(crate) fn decide(&mut self, observation: &Observation) -> Reason {
        self.served.refresh(self.engine, self.now);
        self.engine.observe(observation, self.now).reason
    }

    /// Decides when enough observations are held, or at [`decide_held`](Self::decide_held).
    pub(crate) fn hold(&mut self, observation: &Observation) {
        self.held.push(*observation);
        if self.held.len() >= HELD {
            self.decide_held();
        }
    }

    /// Decides all held observations.
    pub(crate) fn decide_held(&mut self) {
        if !self.held.is_empty() {
            self.served.refresh(self.engine, self.now);
            self.served.decide(self.engine, self.held, self.now);
            self.held.clear();
        }
    }
}
