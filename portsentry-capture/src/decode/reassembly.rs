//! All datagrams that are being reassembled.
//!
//! The sender of fragments decides how much is stored here. So the table is bounded in memory
//! and in time, and evictions are counted. IPv4 and IPv6 have separate bounds, so a flood of one
//! family evicts nothing of the other.
//!
//! Each interface has its own decoder, and so its own table. Linux also joins fragments that
//! arrive on different interfaces, except for link-local IPv6 and between VRFs. This table does
//! not, because a bridge and its port both show each fragment. One table for both would count a
//! fragment twice where the kernel counts it once, and would then discard datagrams that the kernel
//! completes.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::time::Duration;

use etherparse::IpNumber;
use portsentry_core::Instant;

use super::assembly::{Assembly, Outcome, lacks_headers};
use super::fragment::{DatagramKey, Fragment};
use super::{Packet, Rejected};

/// Maximum memory for each family, in bytes. Linux has the same limit
/// (`net.ipv4.ipfrag_high_thresh`) and counts at least 700 bytes for a fragment, so it cannot
/// store more than fits here.
const MAX_HELD: usize = 4 << 20;

/// Lifetimes of an incomplete datagram: `net.ipv4.ipfrag_time`, and RFC 8200 section 4.5.
const LIFETIME_V4: Duration = Duration::from_secs(30);
const LIFETIME_V6: Duration = Duration::from_secs(60);

/// Maximum number of fragments of other datagrams that a source may send between two fragments of
/// an IPv4 datagram. Linux restarts the datagram if there are more (`net.ipv4.ipfrag_max_dist`).
const MAX_DISTANCE: u32 = 64;

/// Number of counters of fragments by source. Sources that share a counter count as one, which
/// matters only if both send fragments at the same time.
const SOURCES: usize = 1024;

/// Counters of datagrams that arrived in fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReassemblyStats {
    /// Number of datagrams of which all fragments arrived.
    pub completed: u64,
    /// Number of datagrams discarded because fragments were missing for too long.
    pub expired: u64,
    /// Number of datagrams evicted because the memory was full.
    pub evicted: u64,
}

impl ReassemblyStats {
    /// Adds the counters of `other`.
    pub const fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.expired += other.expired;
        self.evicted += other.evicted;
    }
}

/// Incomplete datagrams of both families.
#[derive(Debug)]
pub(super) struct Reassembly {
    v4: Table,
    v6: Table,
    /// Number of fragments by hash of the source, for IPv4.
    sent: Box<[u32; SOURCES]>,
    hash: RandomState,
    stats: ReassemblyStats,
}

impl Reassembly {
    /// Creates one of `sharing` tables that share the memory.
    pub(super) fn new(sharing: u16) -> Self {
        let most = MAX_HELD / usize::from(sharing.max(1));
        Self {
            v4: Table::new(most, LIFETIME_V4),
            v6: Table::new(most, LIFETIME_V6),
            sent: Box::new([0; SOURCES]),
            hash: RandomState::new(),
            stats: ReassemblyStats::default(),
        }
    }

    pub(super) fn stats(&self) -> ReassemblyStats {
        self.stats
    }

    /// Adds a fragment and returns the packet that it completes.
    #[cold]
    pub(super) fn add(
        &mut self,
        fragment: &Fragment<'_>,
        now: Instant,
    ) -> Result<Packet, Rejected> {
        let (table, sent) = match fragment.header.target {
            IpAddr::V4(_) => {
                let sent = self.count(fragment.header.source);
                match fragment.header.protocol {
                    IpNumber::TCP | IpNumber::UDP | IpNumber::AUTHENTICATION_HEADER => {}
                    IpNumber::ENCAPSULATING_SECURITY_PAYLOAD => return Err(Rejected::Encrypted),
                    _ => return Err(Rejected::OtherTransport),
                }
                (&mut self.v4, sent)
            }
            IpAddr::V6(_) if lacks_headers(fragment) => return Err(Rejected::FirstFragment),
            IpAddr::V6(_) => (&mut self.v6, 0),
        };
        table.expire(now, &mut self.stats);
        let complete = table.add(fragment, now, sent, &mut self.stats)?;
        self.stats.completed += 1;
        complete.packet()
    }

    /// Returns the number of fragments that arrived from this source, including this one.
    fn count(&mut self, source: IpAddr) -> u32 {
        let slot = self.hash.hash_one(source) as usize % SOURCES;
        self.sent.get_mut(slot).map_or(0, |count| {
            *count = count.wrapping_add(1);
            *count
        })
    }
}

/// Incomplete datagrams of one family.
#[derive(Debug)]
struct Table {
    datagrams: HashMap<DatagramKey, Waiting>,
    /// Keys by age, the oldest first.
    by_age: BTreeMap<u64, DatagramKey>,
    next_age: u64,
    /// Memory use, in bytes.
    held: usize,
    /// Maximum memory use, in bytes.
    most: usize,
    lifetime: Duration,
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

impl Table {
    fn new(most: usize, lifetime: Duration) -> Self {
        let (datagrams, by_age) = (HashMap::new(), BTreeMap::new());
        Self { datagrams, by_age, next_age: 0, held: 0, most, lifetime }
    }

    /// Adds a fragment of a source that has `sent` this number of fragments. Returns the datagram
    /// that it completes.
    fn add(
        &mut self,
        fragment: &Fragment<'_>,
        now: Instant,
        sent: u32,
        stats: &mut ReassemblyStats,
    ) -> Result<Assembly, Rejected> {
        let key = fragment.key();
        let mut waiting = match self.datagrams.remove(&key) {
            Some(waiting) if sent.wrapping_sub(waiting.sent) <= MAX_DISTANCE => waiting,
            Some(waiting) => {
                stats.expired += 1;
                self.forget(&waiting);
                self.start(key, now)
            }
            None => self.start(key, now),
        };
        let mut outcome = waiting.assembly.insert(fragment);
        if now.since(waiting.since) > self.lifetime
            && !matches!(outcome, Outcome::Incomplete | Outcome::Complete)
        {
            // The kernel's timer may be late. A fragment that fits shows that the datagram has not
            // expired there; one that contradicts it shows that it has.
            stats.expired += 1;
            self.forget(&waiting);
            waiting = self.start(key, now);
            outcome = waiting.assembly.insert(fragment);
        }
        let rejected = match outcome {
            Outcome::Complete => {
                self.forget(&waiting);
                return Ok(waiting.assembly);
            }
            Outcome::Discarded(kind) => {
                self.forget(&waiting);
                return Err(kind);
            }
            Outcome::Incomplete => Rejected::Fragment,
            Outcome::Ignored(kind) => kind,
        };
        let cost = waiting.assembly.cost();
        self.held = self.held - waiting.cost + cost;
        self.datagrams.insert(key, Waiting { cost, sent, ..waiting });
        self.evict(stats);
        Err(rejected)
    }

    /// Creates a datagram and inserts its key by age. The caller inserts the datagram.
    fn start(&mut self, key: DatagramKey, now: Instant) -> Waiting {
        let age = self.next_age;
        self.next_age += 1;
        self.by_age.insert(age, key);
        Waiting { assembly: Assembly::default(), age, since: now, cost: 0, sent: 0 }
    }

    /// Reverts [`start`](Self::start) for a datagram that was removed from the table.
    fn forget(&mut self, waiting: &Waiting) {
        self.by_age.remove(&waiting.age);
        self.held -= waiting.cost;
    }

    /// Removes expired datagrams. The kernel's timers may be late by an eighth of their time
    /// (`kernel/time/timer.c`).
    fn expire(&mut self, now: Instant, stats: &mut ReassemblyStats) {
        let longest = self.lifetime + self.lifetime / 8;
        while let Some((_, key)) = self.by_age.first_key_value()
            && let Some(waiting) = self.datagrams.get(key)
            && now.since(waiting.since) > longest
        {
            self.remove_oldest();
            stats.expired += 1;
        }
    }

    fn evict(&mut self, stats: &mut ReassemblyStats) {
        while self.held > self.most {
            self.remove_oldest();
            stats.evicted += 1;
        }
    }

    fn remove_oldest(&mut self) {
        if let Some((_, key)) = self.by_age.pop_first()
            && let Some(waiting) = self.datagrams.remove(&key)
        {
            self.held -= waiting.cost;
        }
    }
}
