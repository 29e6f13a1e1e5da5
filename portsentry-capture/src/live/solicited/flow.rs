//! Who talks to whom over UDP, as seen from this host, and a bounded memory of
//! that.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use portsentry_core::{Instant, Timestamp};

/// Places that an exchange can have. With half of all places taken, one in a
/// hundred finds these full.
const WAYS: usize = 8;

/// Both ends of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Exchange {
    local: u128,
    remote: u128,
    local_port: NonZeroU16,
    remote_port: u16,
}

impl Exchange {
    /// Between this host's `local` and `remote`. `None` for a local port that
    /// there is not.
    pub(super) fn between(local: SocketAddr, remote: SocketAddr) -> Option<Self> {
        Self::new(local.ip(), local.port(), bits(remote.ip()), remote.port())
    }

    /// Between `local` and whoever answers.
    pub(super) fn with_anybody(local: SocketAddr) -> Option<Self> {
        Self::new(local.ip(), local.port(), 0, 0)
    }

    fn new(local: IpAddr, port: u16, remote: u128, remote_port: u16) -> Option<Self> {
        Some(Self { local: bits(local), remote, local_port: NonZeroU16::new(port)?, remote_port })
    }
}

/// An address of either family, each in a range of its own (RFC 4291 section
/// 2.5.5.2).
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// What is remembered of an exchange: a cache line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    exchange: Exchange,
    /// When it began, by the clock of the packets.
    pub(super) began: Timestamp,
    /// When it was last renewed.
    pub(super) renewed: Instant,
}

/// Exchanges of the last while, at most so many.
///
/// An exchange can stand in one bucket only, which a keyed hash chooses; when
/// that is full, the one that was renewed longest ago makes room. So an update
/// costs the same whatever was before, and allocates nothing.
#[derive(Debug)]
pub(super) struct Exchanges {
    /// Buckets of [`WAYS`].
    entries: Box<[Option<Entry>]>,
    hash: RandomState,
    lifetime: Duration,
}

impl Exchanges {
    /// Room for `capacity` of them, 64 bytes each, which are forgotten when they
    /// were not renewed for `lifetime`.
    pub(super) fn new(capacity: usize, lifetime: Duration) -> Self {
        let capacity = capacity.next_multiple_of(WAYS).max(WAYS);
        Self { entries: vec![None; capacity].into(), hash: RandomState::new(), lifetime }
    }

    /// The exchange, unless it is forgotten by `now`.
    pub(super) fn find(&mut self, exchange: &Exchange, now: Instant) -> Option<&mut Entry> {
        let lifetime = self.lifetime;
        self.bucket(exchange)
            .iter_mut()
            .flatten()
            .find(|entry| entry.exchange == *exchange && is_alive(entry, lifetime, now))
    }

    /// Remembers an exchange that [`find`](Self::find) does not give. Whether
    /// another had to be forgotten before its time.
    pub(super) fn insert(&mut self, exchange: Exchange, began: Timestamp, now: Instant) -> bool {
        let lifetime = self.lifetime;
        // An empty place, or what was forgotten longest ago, goes first.
        let slots = self.bucket(&exchange).iter_mut();
        let slot = slots.min_by_key(|slot| slot.map(|entry| entry.renewed));
        let new = Some(Entry { exchange, began, renewed: now });
        let before = slot.and_then(|slot| std::mem::replace(slot, new));
        before.is_some_and(|entry| is_alive(&entry, lifetime, now))
    }

    pub(super) fn remove(&mut self, exchange: &Exchange) {
        for slot in self.bucket(exchange) {
            if slot.is_some_and(|entry| entry.exchange == *exchange) {
                *slot = None;
            }
        }
    }

    fn bucket(&mut self, exchange: &Exchange) -> &mut [Option<Entry>] {
        let buckets = self.entries.len() / WAYS;
        let bucket = self.hash.hash_one(exchange) as usize % buckets;
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
    fn ends_are_told_apart() {
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let local = at("192.0.2.1:4000");
        let exchange = Exchange::between(local, at("192.0.2.9:53")).unwrap();
        let others = [
            (at("192.0.2.1:4001"), at("192.0.2.9:53")),
            (at("192.0.2.2:4000"), at("192.0.2.9:53")),
            (at("192.0.2.1:4000"), at("192.0.2.9:54")),
            (at("192.0.2.1:4000"), at("192.0.2.8:53")),
            (at("192.0.2.9:53"), at("192.0.2.1:4000")),
            (at("[::192.0.2.1]:4000"), at("[::192.0.2.9]:53")),
        ];
        let now = Instant::from_secs(1);
        let mut exchanges = Exchanges::new(64, Duration::from_secs(30));
        assert!(!exchanges.insert(exchange, Timestamp::default(), now));
        for (local, remote) in others {
            let other = Exchange::between(local, remote).unwrap();
            assert!(exchanges.find(&other, now).is_none(), "{local} {remote}");
        }
        assert!(exchanges.find(&Exchange::with_anybody(local).unwrap(), now).is_none());
        assert!(exchanges.find(&exchange, now).is_some());
        exchanges.remove(&exchange);
        assert!(exchanges.find(&exchange, now).is_none());
        assert!(Exchange::between(at("192.0.2.1:0"), local).is_none());
    }

    #[test]
    fn a_full_bucket_gives_up_what_was_renewed_longest_ago() {
        let exchange = |port: u16| {
            Exchange::with_anybody(SocketAddr::new([192, 0, 2, 1].into(), port)).unwrap()
        };
        let mut exchanges = Exchanges::new(WAYS, Duration::from_secs(30));
        let began = Timestamp::default();
        for port in 1..=8 {
            assert!(!exchanges.insert(exchange(port), began, Instant::from_secs(port.into())));
        }
        let now = Instant::from_secs(20);
        exchanges.find(&exchange(1), now).unwrap().renewed = now;
        assert!(exchanges.insert(exchange(9), began, now));
        let known: Vec<u16> =
            (1..=9).filter(|port| exchanges.find(&exchange(*port), now).is_some()).collect();
        assert_eq!(known, [1, 3, 4, 5, 6, 7, 8, 9]);
        // The third is forgotten by then, which loses nothing.
        assert!(!exchanges.insert(exchange(10), began, Instant::from_secs(34)));
    }
}
