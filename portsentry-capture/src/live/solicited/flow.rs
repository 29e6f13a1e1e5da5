//! UDP flows as seen from this host, and a table of them with a fixed size.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use portsentry_core::{Instant, Timestamp};

/// Slots of a bucket. With half of all slots in use, one bucket in a hundred is full.
const WAYS: usize = 8;

/// Both ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UdpFlow {
    local: u128,
    remote: u128,
    local_port: NonZeroU16,
    remote_port: u16,
}

impl UdpFlow {
    /// Returns the flow between this host's `local` and `remote`, `None` if the local port
    /// is 0.
    pub(super) fn between(local: SocketAddr, remote: SocketAddr) -> Option<Self> {
        Self::new(local.ip(), local.port(), bits(remote.ip()), remote.port())
    }

    /// Returns the flow between `local` and any remote end: a query to a group.
    pub(super) fn with_any_remote(local: SocketAddr) -> Option<Self> {
        Self::new(local.ip(), local.port(), 0, 0)
    }

    /// Returns the flow between `local` and this port of any remote host.
    pub(super) fn with_remote_port(local: SocketAddr, remote_port: u16) -> Option<Self> {
        Self::new(local.ip(), local.port(), 0, remote_port)
    }

    fn new(local: IpAddr, port: u16, remote: u128, remote_port: u16) -> Option<Self> {
        Some(Self { local: bits(local), remote, local_port: NonZeroU16::new(port)?, remote_port })
    }
}

/// Maps both families into one range (RFC 4291 section 2.5.5.2).
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// Entry of a [`FlowTable`]: one cache line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    flow: UdpFlow,
    /// Time of its first packet.
    pub(super) started: Timestamp,
    /// Time of its last renewal.
    pub(super) renewed: Instant,
}

/// Recent flows, in a table of fixed size.
///
/// A keyed hash chooses the bucket of a flow. When the bucket is full, the flow that was
/// renewed longest ago is evicted. So each update has the same cost and never allocates.
#[derive(Debug)]
pub(super) struct FlowTable {
    /// Buckets of [`WAYS`].
    entries: Box<[Option<Entry>]>,
    hash: RandomState,
    lifetime: Duration,
}

impl FlowTable {
    /// Creates a table of `capacity` flows of 64 bytes each. A flow expires when it is not
    /// renewed for `lifetime`.
    pub(super) fn new(capacity: usize, lifetime: Duration) -> Self {
        let capacity = capacity.next_multiple_of(WAYS).max(WAYS);
        Self { entries: vec![None; capacity].into(), hash: RandomState::new(), lifetime }
    }

    /// Returns the entry of `flow`, unless it has expired by `now`.
    pub(super) fn find(&mut self, flow: &UdpFlow, now: Instant) -> Option<&mut Entry> {
        let lifetime = self.lifetime;
        self.bucket(flow)
            .iter_mut()
            .flatten()
            .find(|entry| entry.flow == *flow && is_alive(entry, lifetime, now))
    }

    /// Inserts a flow that [`find`](Self::find) does not return. Returns whether a flow
    /// that had not expired was evicted.
    pub(super) fn insert(&mut self, flow: UdpFlow, started: Timestamp, now: Instant) -> bool {
        let lifetime = self.lifetime;
        // Empty slots come first, then the least recently renewed flow.
        let slots = self.bucket(&flow).iter_mut();
        let slot = slots.min_by_key(|slot| slot.map(|entry| entry.renewed));
        let new = Some(Entry { flow, started, renewed: now });
        let before = slot.and_then(|slot| std::mem::replace(slot, new));
        before.is_some_and(|entry| is_alive(&entry, lifetime, now))
    }

    pub(super) fn remove(&mut self, flow: &UdpFlow) {
        for slot in self.bucket(flow) {
            if slot.is_some_and(|entry| entry.flow == *flow) {
                *slot = None;
            }
        }
    }

    fn bucket(&mut self, flow: &UdpFlow) -> &mut [Option<Entry>] {
        let buckets = self.entries.len() / WAYS;
        let bucket = self.hash.hash_one(flow) as usize % buckets;
        &mut self.entries[bucket * WAYS..][..WAYS]
    }
}

fn is_alive(entry: &Entry, lifetime: Duration, now: Instant) -> bool {
    now.since(entry.renewed) <= lifetime
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_cache_line() {
        assert_eq!(size_of::<Option<Entry>>(), 64);
    }

    #[test]
    fn both_ends_identify_a_flow() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let local = at("192.0.2.1:4000");
        let flow = UdpFlow::between(local, at("192.0.2.9:53")).unwrap();
        let others = [
            (at("192.0.2.1:4001"), at("192.0.2.9:53")),
            (at("192.0.2.2:4000"), at("192.0.2.9:53")),
            (at("192.0.2.1:4000"), at("192.0.2.9:54")),
            (at("192.0.2.1:4000"), at("192.0.2.8:53")),
            (at("192.0.2.9:53"), at("192.0.2.1:4000")),
            (at("[::192.0.2.1]:4000"), at("[::192.0.2.9]:53")),
        ];
        let now = Instant::from_secs(1);
        let mut flows = FlowTable::new(64, Duration::from_secs(30));
        assert!(!flows.insert(flow, Timestamp::default(), now));
        for (local, remote) in others {
            let other = UdpFlow::between(local, remote).unwrap();
            assert!(flows.find(&other, now).is_none(), "{local} {remote}");
        }
        assert!(flows.find(&UdpFlow::with_any_remote(local).unwrap(), now).is_none());
        assert!(flows.find(&flow, now).is_some());
        flows.remove(&flow);
        assert!(flows.find(&flow, now).is_none());
        assert!(UdpFlow::between(at("192.0.2.1:0"), local).is_none());
    }

    #[test]
    fn a_full_bucket_evicts_the_least_recently_renewed_flow() {
        let flow = |port: u16| {
            UdpFlow::with_any_remote(SocketAddr::new([192, 0, 2, 1].into(), port)).unwrap()
        };
        let mut flows = FlowTable::new(WAYS, Duration::from_secs(30));
        let started = Timestamp::default();
        for port in 1..=8 {
            assert!(!flows.insert(flow(port), started, Instant::from_secs(port.into())));
        }
        let now = Instant::from_secs(20);
        flows.find(&flow(1), now).unwrap().renewed = now;
        assert!(flows.insert(flow(9), started, now));
        let known: Vec<u16> =
            (1..=9).filter(|port| flows.find(&flow(*port), now).is_some()).collect();
        assert_eq!(known, [1, 3, 4, 5, 6, 7, 8, 9]);
        // The third has expired by then, so its eviction is not counted.
        assert!(!flows.insert(flow(10), started, Instant::from_secs(34)));
    }
}
