//! What came to another ring than that of its source.
//!
//! That happens while rings are opened or leave their group, so it is bounded and
//! counted, and may cost a lock for each batch.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex};

use portsentry_core::Observation;
use rustix::event::{EventfdFlags, eventfd};

use super::{RingGroups, lock};
use crate::{Drained, RingStats, Sensor, SensorError, SensorStats};

/// Observations that wait in all mailboxes together, and as many are read: 4 MiB
/// each.
const CAPACITY: usize = 1 << 15;

/// Where others put what belongs to a ring.
#[derive(Debug)]
pub(super) struct Mailbox {
    observations: Mutex<Vec<Observation>>,
    capacity: usize,
    /// Readable when there is any.
    filled: OwnedFd,
}

impl Mailbox {
    /// One of so many mailboxes.
    pub(super) fn new(mailboxes: usize) -> io::Result<Self> {
        let filled = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { observations: Mutex::default(), capacity: CAPACITY / mailboxes, filled })
    }

    /// Puts in as many of `observations` as there is room for, in order, and leaves none.
    pub(super) fn post(&self, observations: &mut Vec<Observation>) -> RingStats {
        if observations.is_empty() {
            return RingStats::default();
        }
        let mut waiting = lock(&self.observations);
        let taken = observations.len().min(self.capacity.saturating_sub(waiting.len()));
        let lost = observations.len() - taken;
        waiting.extend(observations.drain(..taken));
        observations.clear();
        // It fails only when it is readable already.
        let _ = rustix::io::write(&self.filled, &1_u64.to_ne_bytes());
        RingStats { handed_on: taken as u64, lost: lost as u64 }
    }

    /// Takes all out, into `observations`.
    fn take(&self, observations: &mut Vec<Observation>) {
        observations.clear();
        // Before the observations: what is posted afterwards makes it readable again.
        let _ = rustix::io::read(&self.filled, &mut [0; 8]);
        std::mem::swap(&mut *lock(&self.observations), observations);
    }
}

/// Reads the mailbox of a ring.
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

    fn mailbox(&self) -> Option<&Mailbox> {
        self.groups.mailboxes.get(self.ring)
    }
}

impl Sensor for Handoff {
    fn name(&self) -> &'static str {
        "other rings"
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.mailbox().map(|mailbox| mailbox.filled.as_fd())
    }

    /// Hands out all there is, whatever the budget: that is bounded.
    fn drain(
        &mut self,
        _: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        let mut observations = std::mem::take(&mut self.observations);
        if let Some(mailbox) = self.mailbox() {
            mailbox.take(&mut observations);
        }
        observations.drain(..).for_each(|observation| sink(&observation));
        self.observations = observations;
        Ok(Drained::Empty)
    }

    /// What waits counts as lost until it is read. For the first ring, with what
    /// rings have counted that nobody ever read.
    fn stats(&mut self) -> SensorStats {
        let mut stats = if self.ring == 0 { self.groups.unread() } else { SensorStats::default() };
        stats.rings.lost +=
            self.mailbox().map_or(0, |mailbox| lock(&mailbox.observations).len() as u64);
        stats
    }
}
