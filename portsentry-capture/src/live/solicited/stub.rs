//! Stands for `queries` in a build without packet sockets: no query is seen, and
//! nothing is an answer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portsentry_core::Observation;
use rustix::event::epoll;

use super::Watched;
use crate::{Interface, QueryStats};

/// No queries.
#[derive(Debug)]
pub(super) struct Queries {
    /// Holds nothing.
    epoll: OwnedFd,
}

impl Queries {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? })
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    pub(super) fn watch(&mut self, _: &Watched) {}

    pub(super) fn complain(&mut self) {}

    pub(super) fn set_broadcasts(&mut self, _: &[Interface]) {}

    pub(super) fn attend(&mut self) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn begin_round(&mut self) {}

    pub(super) fn is_answer(&mut self, _: &Observation) -> bool {
        false
    }

    pub(super) fn stats(&mut self) -> QueryStats {
        QueryStats::default()
    }
}
