//! What a set of captures holds back, because one capture alone cannot know it.
//!
//! A packet may be seen on two interfaces, and a datagram may answer what this host has
//! asked. Both are found out here, between the captures and whoever the set hands its
//! observations to, and counted.

use portsentry_core::Observation;

use super::duplicates::Duplicates;
use super::queries::Queries;
use crate::{Drained, Rejected, Sensor, SensorError, Tally};

/// Holds back what more than one capture is needed to know.
#[derive(Debug)]
pub(super) struct Sieve {
    /// Whether a packet can be seen on two interfaces.
    pub(super) several: bool,
    duplicates: Duplicates,
    pub(super) queries: Queries,
    /// What was held back.
    pub(super) tally: Tally,
}

impl Sieve {
    /// Nothing was seen yet, and there is one interface.
    pub(super) fn new(queries: Queries) -> Self {
        let (duplicates, tally) = (Duplicates::new(), Tally::default());
        Self { several: false, duplicates, queries, tally }
    }

    /// Drains `sensor`; what passes goes to `sink`.
    pub(super) fn drain(
        &mut self,
        sensor: &mut dyn Sensor,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        sensor.drain(budget, &mut |observation| {
            if self.passes(observation) {
                sink(observation);
            }
        })
    }

    fn passes(&mut self, observation: &Observation) -> bool {
        let rejected = if self.several && self.duplicates.is_duplicate(observation) {
            Rejected::Duplicate
        } else if self.queries.is_answer(observation) {
            Rejected::Answer
        } else {
            return true;
        };
        self.tally.add(rejected);
        false
    }
}
