//! All datagrams that are being reassembled.
//!
//! The sender of fragments decides how much is stored here. So the table is bounded in memory
//! and in time. IPv4 and IPv6 have separate bounds, so a flood of one family affects nothing of the
//! other.
//!
//! The kernel refuses new datagrams while its memory is full (`inet_frag_find` in
//! `net/ipv4/inet_fragment.c`), and so does this table. But the two tables may differ, because the
//! kernel drops packets for reasons that are unknown here, for example a firewall. So a first
//! fragment is never dropped for a reason that may not exist in the kernel: its packet is handed
//! out as [unfinished](Reassembly::unfinished). Each first fragment is handed out at most once.
//!
//! Each interface has its own decoder, and so its own table. Linux also joins fragments that
//! arrive on different interfaces, except for link-local IPv6 and between VRFs. This table does
//! not, because a bridge and its port both show each fragment. One table for both would count a
//! fragment twice where the kernel counts it once, and would then discard datagrams that the kernel
//! completes.

mod limits;
mod peers;
mod table;

use std::net::IpAddr;
use std::time::Duration;

use etherparse::IpNumber;
use portsentry_core::{Evidence, Instant};

use self::table::{Incomplete, Table};
use super::assembly::lacks_headers;
use super::fragment::Fragment;
use super::{Packet, Rejected};

pub use limits::FragmentLimits;

/// Counters of datagrams that arrived in fragments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ReassemblyStats {
    /// Number of datagrams of which all fragments arrived.
    pub completed: u64,
    /// Number of datagrams discarded because fragments were missing for too long.
    pub expired: u64,
    /// Number of datagrams discarded because they grew while the memory was full.
    pub evicted: u64,
    /// Number of fragments of new datagrams that were not stored because the memory was full.
    pub refused: u64,
    /// Number of packets that were handed out although their datagram is incomplete.
    pub unfinished: u64,
}

impl ReassemblyStats {
    /// Adds the counters of `other`.
    pub const fn merge(&mut self, other: &Self) {
        self.completed += other.completed;
        self.expired += other.expired;
        self.evicted += other.evicted;
        self.refused += other.refused;
        self.unfinished += other.unfinished;
    }
}

/// Incomplete datagrams of both families.
#[derive(Debug)]
pub(super) struct Reassembly {
    v4: Table,
    v6: Table,
    /// Number of tables that share the memory.
    sharing: u16,
    /// Packets to hand out, see [`unfinished`](Self::unfinished).
    unfinished: Vec<Packet>,
    stats: ReassemblyStats,
}

/// Maximum number of packets that wait to be handed out, 30 KiB. A fragment adds at most one.
const MAX_UNFINISHED: usize = 256;

/// Maximum age of a UDP datagram that is handed out unfinished. A reply to a query of this host is
/// recognised for a limited time only.
const RECENT: Duration = Duration::from_secs(10);

impl Reassembly {
    /// Creates one of `sharing` tables that share the memory.
    pub(super) fn new(limits: &FragmentLimits, sharing: u16) -> Self {
        let mut new = Self {
            v4: Table::default(),
            v6: Table::default(),
            sharing: sharing.max(1),
            unfinished: Vec::new(),
            stats: ReassemblyStats::default(),
        };
        new.set_limits(limits);
        new
    }

    /// Changes the limits. Datagrams beyond them expire or complete.
    pub(super) fn set_limits(&mut self, limits: &FragmentLimits) {
        let share = |memory| memory / usize::from(self.sharing);
        self.v4.set_limits(share(limits.memory_v4), limits.lifetime_v4, limits.max_distance);
        // IPv6 has no limit for the distance.
        self.v6.set_limits(share(limits.memory_v6), limits.lifetime_v6, 0);
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
        let table = match fragment.header.target {
            IpAddr::V4(_) => {
                let refused = match fragment.header.protocol {
                    IpNumber::TCP | IpNumber::UDP | IpNumber::AUTHENTICATION_HEADER => None,
                    IpNumber::ENCAPSULATING_SECURITY_PAYLOAD => Some(Rejected::Encrypted),
                    _ => Some(Rejected::OtherTransport),
                };
                if let Some(kind) = refused {
                    // The kernel counts these fragments too.
                    self.v4.peers.count(fragment.header.source);
                    return Err(kind);
                }
                &mut self.v4
            }
            IpAddr::V6(_) if lacks_headers(fragment) => return Err(Rejected::FirstFragment),
            IpAddr::V6(_) => &mut self.v6,
        };
        while let Some(expired) = table.expire(now) {
            self.stats.expired += 1;
            hand_out(&mut self.unfinished, &mut self.stats, expired, now);
        }
        let mut removed = None;
        let complete = table.add(fragment, now, &mut self.stats, &mut removed);
        if let Some(incomplete) = removed {
            hand_out(&mut self.unfinished, &mut self.stats, incomplete, now);
        }
        let complete = complete?;
        self.stats.completed += 1;
        complete.packet()
    }

    /// Removes expired datagrams, until none is left or the list of packets to hand out is full.
    pub(super) fn expire(&mut self, now: Instant) {
        for table in [&mut self.v4, &mut self.v6] {
            while self.unfinished.len() < MAX_UNFINISHED
                && let Some(expired) = table.expire(now)
            {
                self.stats.expired += 1;
                hand_out(&mut self.unfinished, &mut self.stats, expired, now);
            }
        }
    }

    pub(super) fn has_incomplete(&self) -> bool {
        !self.v4.is_empty() || !self.v6.is_empty()
    }

    /// Returns the next packet of an incomplete datagram that the host may have completed.
    #[inline]
    pub(super) fn unfinished(&mut self) -> Option<Packet> {
        self.unfinished.pop()
    }
}

/// Adds the packet of `incomplete` to the packets to hand out, if its first fragment arrived.
fn hand_out(
    packets: &mut Vec<Packet>,
    stats: &mut ReassemblyStats,
    incomplete: Incomplete,
    now: Instant,
) {
    let since = incomplete.since;
    let Some(packet) = incomplete.assembly.unfinished() else { return };
    let is_recent = now.since(since) <= RECENT || matches!(packet.evidence, Evidence::Segment(_));
    if is_recent && packets.len() < MAX_UNFINISHED {
        packets.push(packet);
        stats.unfinished += 1;
    }
}
