//! Incomplete datagrams of one family.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use portsentry_core::Instant;

use super::ReassemblyStats;
use super::peers::Peers;
use crate::decode::Rejected;
use crate::decode::assembly::{Assembly, Outcome};
use crate::decode::fragment::{DatagramKey, Fragment};

/// Incomplete datagrams of one family.
#[derive(Debug, Default)]
pub(super) struct Table {
    datagrams: HashMap<DatagramKey, Waiting>,
    /// Keys by age, the oldest first.
    by_age: BTreeMap<u64, DatagramKey>,
    next_age: u64,
    pub(super) peers: Peers,
    /// Memory use, in bytes.
    held: usize,
    /// Memory use from which on no new datagram is stored, in bytes.
    most: usize,
    lifetime: Duration,
    /// Maximum number of fragments of other datagrams between two fragments; 0 is no limit.
    max_distance: u32,
}

/// An incomplete datagram.
#[derive(Debug)]
struct Waiting {
    assembly: Assembly,
    age: u64,
    since: Instant,
    /// Memory use, in bytes.
    cost: usize,
    /// Number of fragments of the source when the last fragment of this datagram arrived.
    sent: u32,
}

/// A datagram that was removed before it was complete.
#[derive(Debug)]
pub(super) struct Incomplete {
    pub(super) assembly: Assembly,
    /// Time of its first fragment that arrived.
    pub(super) since: Instant,
}

impl Table {
    pub(super) fn set_limits(&mut self, most: usize, lifetime: Duration, max_distance: u32) {
        (self.most, self.lifetime, self.max_distance) = (most, lifetime, max_distance);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// Adds a fragment. Returns the datagram that it completes. `removed` becomes the datagram that
    /// is not stored any more, although the host may still have it.
    pub(super) fn add(
        &mut self,
        fragment: &Fragment<'_>,
        now: Instant,
        stats: &mut ReassemblyStats,
        removed: &mut Option<Incomplete>,
    ) -> Result<Assembly, Rejected> {
        let key = fragment.key();
        let found = self.datagrams.remove(&key);
        if found.is_none() && self.held > self.most {
            stats.refused += 1;
            return Err(refuse(fragment, now, removed));
        }
        let sent = self.peers.count(key.source);
        let mut waiting = match found {
            Some(waiting) if self.is_near(sent.wrapping_sub(waiting.sent)) => waiting,
            Some(waiting) => self.restart(key, waiting, now, removed),
            None => self.start(key, now),
        };
        let mut outcome = waiting.assembly.insert(fragment);
        if now.since(waiting.since) > self.lifetime
            && !matches!(outcome, Outcome::Incomplete | Outcome::Complete)
        {
            // The kernel's timer may be late. A fragment that fits shows that the datagram has not
            // expired there; one that contradicts it shows that it has.
            waiting = self.restart(key, waiting, now, removed);
            outcome = waiting.assembly.insert(fragment);
        }
        stats.expired += u64::from(removed.is_some());
        let rejected = match outcome {
            Outcome::Complete => {
                self.forget(&key, &waiting);
                return Ok(waiting.assembly);
            }
            Outcome::Discarded(kind) => {
                self.forget(&key, &waiting);
                return Err(kind);
            }
            Outcome::Incomplete => Rejected::Fragment,
            Outcome::Ignored(kind) => kind,
        };
        let cost = waiting.assembly.cost();
        self.held = self.held - waiting.cost + cost;
        waiting = Waiting { cost, sent, ..waiting };
        if self.held > self.most + self.most / 4 {
            stats.evicted += 1;
            self.forget(&key, &waiting);
            *removed = Some(waiting.into());
        } else {
            self.datagrams.insert(key, waiting);
        }
        Err(rejected)
    }

    /// Returns whether the kernel keeps a datagram after this number of fragments of its source.
    fn is_near(&self, distance: u32) -> bool {
        self.max_distance == 0 || distance <= self.max_distance
    }

    /// Creates a datagram and inserts its key by age. The caller inserts the datagram.
    fn start(&mut self, key: DatagramKey, now: Instant) -> Waiting {
        let age = self.next_age;
        self.next_age += 1;
        self.by_age.insert(age, key);
        self.peers.add(key.source);
        Waiting { assembly: Assembly::default(), age, since: now, cost: 0, sent: 0 }
    }

    /// Replaces a datagram that was removed from the table by an empty one.
    fn restart(
        &mut self,
        key: DatagramKey,
        waiting: Waiting,
        now: Instant,
        removed: &mut Option<Incomplete>,
    ) -> Waiting {
        let new = self.start(key, now);
        self.forget(&key, &waiting);
        *removed = Some(waiting.into());
        new
    }

    /// Reverts [`start`](Self::start) for a datagram that was removed from the table.
    fn forget(&mut self, key: &DatagramKey, waiting: &Waiting) {
        self.by_age.remove(&waiting.age);
        self.peers.remove(key.source);
        self.held -= waiting.cost;
    }

    /// Removes a datagram that has expired. The kernel's timers may be late by an eighth of their
    /// time (`kernel/time/timer.c`).
    pub(super) fn expire(&mut self, now: Instant) -> Option<Incomplete> {
        let longest = self.lifetime + self.lifetime / 8;
        let (_, key) = self.by_age.first_key_value()?;
        let key = *key;
        if now.since(self.datagrams.get(&key)?.since) <= longest {
            return None;
        }
        let waiting = self.datagrams.remove(&key)?;
        self.forget(&key, &waiting);
        Some(waiting.into())
    }
}

impl From<Waiting> for Incomplete {
    fn from(waiting: Waiting) -> Self {
        Self { assembly: waiting.assembly, since: waiting.since }
    }
}

/// Returns the result for a fragment that is not stored, and sets `removed` to its datagram.
fn refuse(fragment: &Fragment<'_>, now: Instant, removed: &mut Option<Incomplete>) -> Rejected {
    let mut assembly = Assembly::default();
    match assembly.insert(fragment) {
        Outcome::Ignored(kind) | Outcome::Discarded(kind) => kind,
        Outcome::Incomplete | Outcome::Complete => {
            *removed = Some(Incomplete { assembly, since: now });
            Rejected::Fragment
        }
    }
}
