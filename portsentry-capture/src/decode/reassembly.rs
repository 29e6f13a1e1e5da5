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

/// Bytes that may be held for each family. Linux holds as many
/// (`net.ipv4.ipfrag_high_thresh`) and reckons 700 or more for a fragment, so
/// whatever waits there can wait here.
const MAX_HELD: usize = 4 << 20;

/// How long a datagram is waited for: `net.ipv4.ipfrag_time`, and RFC 8200
/// section 4.5.
const LIFETIME_V4: Duration = Duration::from_secs(30);
const LIFETIME_V6: Duration = Duration::from_secs(60);

/// How many fragments of others a source may send between two of one IPv4
/// datagram before Linux starts that again (`net.ipv4.ipfrag_max_dist`).
const MAX_DISTANCE: u32 = 64;

/// Counters of fragments by source. Sources that share one seem to send more
/// than they do, which matters to none but a source that fragments at the
/// same time.
const SOURCES: usize = 1024;

/// What became of the datagrams that arrived in fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReassemblyStats {
    /// Datagrams of which every fragment came.
    pub completed: u64,
    /// Datagrams given up because fragments were missing for too long.
    pub expired: u64,
    /// Datagrams given up because others needed the room.
    pub evicted: u64,
}

impl ReassemblyStats {
    /// Adds what `other` has counted.
    pub const fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.expired += other.expired;
        self.evicted += other.evicted;
    }
}

/// Fragments that wait for others.
#[derive(Debug)]
pub(super) struct Reassembly {
    v4: Table,
    v6: Table,
    /// By hash of the source, for IPv4.
    sent: Box<[u32; SOURCES]>,
    hash: RandomState,
    stats: ReassemblyStats,
}

impl Reassembly {
    /// One of so many that share the room.
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

    /// Takes in a fragment and gives the packet that it completes.
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

    /// The number of fragments that came from this source, this one included.
    fn count(&mut self, source: IpAddr) -> u32 {
        let slot = self.hash.hash_one(source) as usize % SOURCES;
        self.sent.get_mut(slot).map_or(0, |count| {
            *count = count.wrapping_add(1);
            *count
        })
    }
}

/// The datagrams of one family.
#[derive(Debug)]
struct Table {
    datagrams: HashMap<DatagramKey, Waiting>,
    /// The oldest first.
    by_age: BTreeMap<u64, DatagramKey>,
    next_age: u64,
    /// Bytes of memory.
    held: usize,
    /// The most of them.
    most: usize,
    lifetime: Duration,
}

/// A datagram of which fragments are missing.
#[derive(Debug)]
struct Waiting {
    assembly: Assembly,
    age: u64,
    since: Instant,
    /// Bytes of memory.
    cost: usize,
    /// What the source had sent when the last fragment came.
    sent: u32,
}

impl Table {
    fn new(most: usize, lifetime: Duration) -> Self {
        let (datagrams, by_age) = (HashMap::new(), BTreeMap::new());
        Self { datagrams, by_age, next_age: 0, held: 0, most, lifetime }
    }

    /// Takes in a fragment of a source that has `sent` so many of them, and
    /// gives the datagram that it completes.
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
                self.begin(key, now)
            }
            None => self.begin(key, now),
        };
        let mut outcome = waiting.assembly.insert(fragment);
        if now.since(waiting.since) > self.lifetime
            && !matches!(outcome, Outcome::Incomplete | Outcome::Complete)
        {
            // The kernel's timer may be late or not. Fragments that go together
            // show that it has not run out, those that do not that it has.
            stats.expired += 1;
            self.forget(&waiting);
            waiting = self.begin(key, now);
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
        self.make_room(stats);
        Err(rejected)
    }

    /// A datagram that is not in the table yet, but has its place by age.
    fn begin(&mut self, key: DatagramKey, now: Instant) -> Waiting {
        let age = self.next_age;
        self.next_age += 1;
        self.by_age.insert(age, key);
        Waiting { assembly: Assembly::default(), age, since: now, cost: 0, sent: 0 }
    }

    /// Undoes [`begin`](Self::begin) for a datagram that was taken out.
    fn forget(&mut self, waiting: &Waiting) {
        self.by_age.remove(&waiting.age);
        self.held -= waiting.cost;
    }

    /// Gives up what has waited too long. The kernel's timers run late by up to
    /// an eighth of their time (`kernel/time/timer.c`).
    fn expire(&mut self, now: Instant, stats: &mut ReassemblyStats) {
        let longest = self.lifetime + self.lifetime / 8;
        while let Some((_, key)) = self.by_age.first_key_value()
            && let Some(waiting) = self.datagrams.get(key)
            && now.since(waiting.since) > longest
        {
            self.give_up_oldest();
            stats.expired += 1;
        }
    }

    fn make_room(&mut self, stats: &mut ReassemblyStats) {
        while self.held > self.most {
            self.give_up_oldest();
            stats.evicted += 1;
        }
    }

    fn give_up_oldest(&mut self) {
        if let Some((_, key)) = self.by_age.pop_first()
            && let Some(waiting) = self.datagrams.remove(&key)
        {
            self.held -= waiting.cost;
        }
    }
}
