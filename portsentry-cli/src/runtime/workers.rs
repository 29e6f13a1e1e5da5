//! The readers of packets: the main thread itself, or packet threads.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use portsentry_core::{Instant, Policy, ResponseId, TranslatedPorts};
use portsentry_respond::{Answer, Client, Hosts};

#[cfg(not(feature = "rings"))]
use super::one_ring::Shards;
use super::sensors::SensorSettings;
use super::shard::{Shard, ShardStats};
#[cfg(feature = "rings")]
use super::shards::Shards;
use crate::failure::Failure;

/// The shards of the sentry.
pub(crate) enum Workers {
    /// One ring, or bound sockets: in this thread.
    Here(Box<Shard>),
    /// One thread for each ring.
    Threads(Box<Shards>),
}

impl Workers {
    /// Starts the packet threads, if there are any. Packets wait until [`watch`](Self::watch).
    pub(crate) fn start(&mut self) -> Result<(), Failure> {
        match self {
            Self::Here(_) => Ok(()),
            Self::Threads(it) => it.start().map_err(Failure::system("cannot start a thread")),
        }
    }

    /// Starts to read packets, at each [`poll_once`](Self::poll_once) or in the packet threads.
    pub(crate) fn watch(&mut self) {
        match self {
            Self::Here(_) => {}
            Self::Threads(it) => it.watch(),
        }
    }

    /// Stops reading packets until [`watch`](Self::watch).
    pub(crate) fn pause(&mut self) {
        match self {
            Self::Here(_) => {}
            Self::Threads(it) => it.pause(),
        }
    }

    /// Returns a descriptor that is readable when [`poll_once`](Self::poll_once) has something to
    /// do; `None` means always.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Here(shard) => shard.sensors.descriptor(),
            Self::Threads(it) => Some(it.descriptor()),
        }
    }

    /// Returns the time at which to call [`poll_once`](Self::poll_once) in any case.
    pub(crate) fn due(&self) -> Option<Instant> {
        match self {
            Self::Here(shard) => shard.due(),
            Self::Threads(_) => None,
        }
    }

    /// Runs the work of this thread. Never waits.
    pub(crate) fn poll_once(&mut self, responder: &mut Client) -> Result<(), Failure> {
        match self {
            Self::Here(shard) => {
                shard.poll_once(|response| responder.respond(response))?;
                Ok(())
            }
            Self::Threads(it) => it.poll_once(responder),
        }
    }

    /// Returns whether all readers of packets are responsive.
    pub(crate) fn is_responsive(&mut self) -> bool {
        match self {
            Self::Here(_) => true,
            Self::Threads(it) => it.is_responsive(),
        }
    }

    /// Checks whether a reload to `settings` would find the resources it needs.
    pub(crate) fn make_room(&self, settings: &SensorSettings) -> Result<(), Failure> {
        match self {
            Self::Here(shard) => Ok(shard.sensors.make_room(settings)?),
            Self::Threads(_) => Ok(()),
        }
    }

    /// Applies `settings`.
    pub(crate) fn set_settings(&mut self, settings: SensorSettings) -> Result<(), Failure> {
        match self {
            Self::Here(shard) => shard.set_settings(&settings),
            Self::Threads(it) => {
                it.set_settings(settings);
                Ok(())
            }
        }
    }

    /// Sets the ports that need no socket.
    pub(crate) fn set_translated(&mut self, ports: Arc<[TranslatedPorts]>) {
        match self {
            Self::Here(shard) => shard.set_translated(ports),
            Self::Threads(it) => it.set_translated(&ports),
        }
    }

    pub(crate) fn set_policy(&mut self, policy: Policy) {
        match self {
            Self::Here(shard) => shard.engine.set_policy(policy),
            Self::Threads(it) => it.set_policy(&policy),
        }
    }

    /// Restores hosts that are blocked already.
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

    /// Reads the packets that arrived before the end was requested.
    pub(crate) fn drain_remaining(&mut self, responder: &mut Client) {
        match self {
            Self::Here(shard) => shard.drain_remaining(|response| responder.respond(response)),
            Self::Threads(it) => it.drain_remaining(responder),
        }
    }

    /// Ends: logs every waiting probe. Returns the totals of each shard, and the number of threads
    /// that do not answer.
    pub(crate) fn close(self) -> (Vec<ShardStats>, usize) {
        match self {
            Self::Here(shard) => (vec![shard.close()], 0),
            Self::Threads(it) => it.close(),
        }
    }
}
