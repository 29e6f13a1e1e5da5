//! Reads the observations that arrived in another ring than that of their source.
//!
//! This happens only while rings are opened or leave their group. The queue is bounded, losses
//! are counted, and each batch costs one lock.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use portsentry_core::Observation;

use super::groups::RingGroups;
use crate::{Drained, Sensor, SensorError, SensorStats};

/// The queue of one ring, as a sensor.
#[derive(Debug)]
pub(super) struct Handoff {
    ring: usize,
    groups: Arc<RingGroups>,
    observations: Vec<Observation>,
}

impl Handoff {
    pub(super) fn new(ring: usize, groups: Arc<RingGroups>) -> Self {
        Self { ring, groups, observations: Vec::new() }
    }
}

impl Sensor for Handoff {
    fn name(&self) -> &'static str {
        "other rings"
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.groups.queue(self.ring).map(AsFd::as_fd)
    }

    /// Hands out the whole queue, which is bounded, for any budget.
    fn drain(
        &mut self,
        _: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        if let Some(queue) = self.groups.queue(self.ring) {
            queue.take_into(&mut self.observations);
        }
        self.observations.drain(..).for_each(|observation| sink(&observation));
        Ok(Drained::Empty)
    }

    /// Counts queued observations as lost until they are read. The first ring adds the
    /// counters of members that were never read.
    fn stats(&mut self) -> SensorStats {
        let mut stats =
            if self.ring == 0 { self.groups.unread_stats() } else { SensorStats::default() };
        stats.rings.lost += self.groups.queue(self.ring).map_or(0, |queue| queue.len() as u64);
        stats
    }
}
