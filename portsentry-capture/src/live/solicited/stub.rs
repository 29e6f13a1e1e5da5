//! Replacement for `queries` in a build without packet sockets: it sees no query, so no
//! datagram counts as a reply.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use portsentry_core::Observation;

use crate::live::Watched;
use crate::reactor::EventSet;
use crate::{Interface, QueryStats};

/// Sees no queries.
#[derive(Debug)]
pub(in crate::live) struct Queries {
    /// Empty.
    events: EventSet,
}

impl Queries {
    pub(in crate::live) fn new() -> io::Result<Self> {
        Ok(Self { events: EventSet::new()? })
    }

    pub(in crate::live) fn descriptor(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    pub(in crate::live) fn watch(&mut self, _: &Watched) {}

    pub(in crate::live) fn log_failure(&mut self) {}

    pub(in crate::live) fn set_broadcasts(&mut self, _: &[Interface]) {}

    pub(in crate::live) fn handle_ready(&mut self) -> io::Result<()> {
        Ok(())
    }

    pub(in crate::live) fn start_round(&mut self) {}

    pub(in crate::live) fn is_reply(&mut self, _: &Observation) -> bool {
        false
    }

    pub(in crate::live) fn stats(&mut self) -> QueryStats {
        QueryStats::default()
    }
}
