//! Who reads packets: the main thread itself, or packet threads.

use std::os::fd::BorrowedFd;

use portsentry_core::config::Settings;
use portsentry_core::{Instant, Policy, ResponseId};
use portsentry_respond::{Answer, Client, Hosts};

#[cfg(not(feature = "rings"))]
use super::one_ring::Shards;
use super::shard::{Shard, ShardStats};
#[cfg(feature = "rings")]
use super::shards::Shards;
use crate::failure::Failure;

/// What reads packets and decides.
pub(crate) enum Workers {
    /// One ring, or bound sockets: in this thread.
    Here(Box<Shard>),
    /// A thread for each ring.
    Threads(Box<Shards>),
}

impl Workers {
    /// Starts the threads that there are to be. Packets wait until
    /// [`watch`](Self::watch).
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Threads(it) => it.start().map_err(Failure::system("cannot start a thread")),
        }
    }

    /// Packets are read from now on, at each [`poll_once`](Self::poll_once) or besides.
    pub(crate) fn watch(&mut self) {
        match self {
            Self::Here(_) => {}
            Self::Threads(it) => it.watch(),
        }
    }

    /// No packet is read until [`watch`](Self::watch).
    pub(crate) fn pause(&mut self) {
        match self {
            Self::Here(_) => {}
            Self::Threads(it) => it.pause(),
        }
    }

    /// Readable when [`poll_once`](Self::poll_once) has something to do; `None`: always.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Here(shard) => shard.sensors.descriptor(),
            Self::Threads(it) => Some(it.descriptor()),
        }
    }

    /// When [`poll_once`](Self::poll_once) has something to do in any case.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Self::Here(shard) => shard.engine.poll_timeout(),
            Self::Threads(_) => None,
        }
    }

    /// Does what is to be done in this thread. Never waits.
    pub(crate) fn poll_once(&mut self, responder: &mut Client) -> Result<(), Failure> {
        match self {
            Self::Here(shard) => {
                shard.poll_once(|response| responder.respond(response))?;
                Ok(())
            }
            Self::Threads(it) => it.poll_once(responder),
        }
    }

    /// Whether all that read packets go round.
    pub(crate) fn is_responsive(&mut self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::Threads(it) => it.is_responsive(),
        }
    }

    /// Whether a reload to `settings` would find the room it needs.
    pub(crate) fn make_room(&self, settings: &Settings) -> Result<(), Failure> {
        match self {
            Self::Here(shard) => Ok(shard.sensors.make_room(settings)?),
            Self::Threads(_) => Ok(()),
        }
    }

    /// Puts what `settings` say of ports and banner in force, and whether served
    /// ports are to be known.
    pub(crate) fn set_settings(
        &mut self,
        settings: &Settings,
        service_check: bool,
    ) -> Result<(), Failure> {
        match self {
            Self::Here(shard) => shard.set_settings(settings, service_check),
            Self::Threads(it) => {
                it.set_settings(settings, service_check);
                Ok(())
            }
        }
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) {
        match self {
            Self::Here(shard) => shard.engine.set_policy(policy),
            Self::Threads(it) => it.set_policy(&policy),
        }
    }

    /// These were dealt with before.
    pub(crate) fn restore_blocked(&mut self, hosts: Hosts) {
        match self {
            Self::Here(shard) => shard.engine.restore_blocked(hosts.iter()),
            Self::Threads(it) => it.restore_blocked(hosts),
        }
    }

    pub(crate) fn handle_answer(&mut self, id: ResponseId, answer: Answer) {
        match self {
            Self::Here(shard) => shard.handle_answer(id, answer),
            Self::Threads(it) => it.handle_answer(id, answer),
        }
    }

    /// Reads packets that came before the end was asked for.
    pub(crate) fn drain_remaining(&mut self, responder: &mut Client) {
        match self {
            Self::Here(shard) => shard.drain_remaining(|response| responder.respond(response)),
            Self::Threads(it) => it.drain_remaining(responder),
        }
    }

    /// Ends: tells of every probe that waits. What each has seen, and how many
    /// threads do not tell.
    pub(crate) fn close(self) -> (Vec<ShardStats>, usize) {
        match self {
            Self::Here(shard) => (vec![shard.close()], 0),
            Self::Threads(it) => it.close(),
        }
    }
}
