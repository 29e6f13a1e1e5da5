//! The hosts that portsentry has responded to.
//!
//! Membership is decided by the hashes of addresses. Two IPv4 addresses never have the
//! same hash. Two IPv6 addresses have the same hash, and count as the same host, with a
//! probability of 1 in 2^61. Without the key, an attacker cannot choose such addresses.
//!
//! The set has a maximum size. When it is full, the host that was added first is evicted.
//! portsentry responds to an evicted host again if it returns. Forged sources therefore
//! cannot exhaust the memory.

mod ordered_table;

use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use self::ordered_table::OrderedTable;

use crate::hash_key::{HashKey, address_bits};

/// A bounded set of addresses, first in first out. An IPv4 address needs 14 to 20 bytes,
/// an IPv6 address 26 to 33 bytes.
#[derive(Debug)]
pub(crate) struct BlockedSet {
    v4: Family<Ipv4Addr>,
    v6: Family<Ipv6Addr>,
    key: HashKey,
}

impl BlockedSet {
    /// Creates a set of at most `v4` IPv4 and `v6` IPv6 addresses. Memory is allocated as
    /// the set grows.
    pub(crate) fn new(v4: usize, v6: usize, key: HashKey) -> Self {
        Self { v4: Family::new(v4), v6: Family::new(v6), key }
    }

    /// Returns the hash of an address, which the other functions need.
    pub(crate) fn hash(&self, address: IpAddr) -> u64 {
        self.key.hash(address_bits(address), 0)
    }

    /// Returns whether the address with this hash is in the set. Reads one cache line,
    /// rarely two.
    pub(crate) fn contains(&self, address: IpAddr, hash: u64) -> bool {
        self.hashes(address).contains(hash)
    }

    /// Reads the cache line that [`contains`](Self::contains) would read. The returned
    /// value has no meaning.
    pub(crate) fn prefetch(&self, address: IpAddr, hash: u64) -> u64 {
        self.hashes(address).prefetch(hash)
    }

    /// Adds an address. Returns the hash of the address that was evicted for it.
    pub(crate) fn insert(&mut self, address: IpAddr, hash: u64) -> Option<u64> {
        match address {
            IpAddr::V4(address) => self.v4.insert(address, hash, &self.key),
            IpAddr::V6(address) => self.v6.insert(address, hash, &self.key),
        }
    }

    /// Removes an address. Returns false if it is not in the set. Reads half of the
    /// addresses of its family on average.
    pub(crate) fn remove(&mut self, address: IpAddr, hash: u64) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.remove(address, hash),
            IpAddr::V6(address) => self.v6.remove(address, hash),
        }
    }

    /// Returns all addresses, IPv4 first, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let v4 = self.v4.order.iter().copied().map(IpAddr::V4);
        v4.chain(self.v6.order.iter().copied().map(IpAddr::V6))
    }

    /// Allocates memory for these total numbers of addresses, so that the set does not
    /// grow in steps.
    pub(crate) fn reserve(&mut self, v4: usize, v6: usize) {
        self.v4.reserve(v4);
        self.v6.reserve(v6);
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.order.len() + self.v6.order.len()
    }

    /// Returns the number of evicted addresses since the start.
    pub(crate) fn forgotten(&self) -> u64 {
        self.v4.forgotten + self.v6.forgotten
    }

    fn hashes(&self, address: IpAddr) -> &OrderedTable {
        match address {
            IpAddr::V4(_) => &self.v4.hashes,
            IpAddr::V6(_) => &self.v6.hashes,
        }
    }
}

/// One family: hashes for lookups, and addresses in the order of arrival.
#[derive(Debug)]
struct Family<A> {
    hashes: OrderedTable,
    order: VecDeque<A>,
    cap: usize,
    forgotten: u64,
}

impl<A: Copy + PartialEq + Into<IpAddr>> Family<A> {
    fn new(cap: usize) -> Self {
        let cap = cap.max(1);
        Self { hashes: OrderedTable::new(0), order: VecDeque::new(), cap, forgotten: 0 }
    }

    fn insert(&mut self, address: A, hash: u64, key: &HashKey) -> Option<u64> {
        let mut forgotten = None;
        if self.order.len() >= self.cap {
            if self.hashes.contains(hash) {
                return None;
            }
            let oldest = self.order.pop_front();
            forgotten = oldest.map(|oldest| key.hash(address_bits(oldest.into()), 0));
            if let Some(oldest) = forgotten {
                self.hashes.remove(oldest);
                self.forgotten += 1;
            }
        } else if self.order.len() >= self.hashes.capacity {
            // Growth by a quarter keeps memory close to the need. A copy is sequential, and
            // therefore cheap.
            self.reserve(self.order.len() + (self.order.len() / 4).max(64));
        }
        if self.hashes.insert(hash) {
            self.order.push_back(address);
        }
        forgotten
    }

    fn remove(&mut self, address: A, hash: u64) -> bool {
        if !self.hashes.contains(hash) {
            return false;
        }
        if let Some(place) = self.order.iter().position(|other| *other == address) {
            self.hashes.remove(hash);
            self.order.remove(place);
            return true;
        }
        false
    }

    fn reserve(&mut self, wanted: usize) {
        let wanted = wanted.min(self.cap);
        if wanted > self.hashes.capacity {
            self.hashes = self.hashes.with_capacity(wanted);
            self.order.reserve_exact(wanted - self.order.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![
            (0_u32..40).prop_map(|bits| IpAddr::V4(bits.into())),
            (0_u128..40).prop_map(|bits| IpAddr::V6(bits.into())),
        ]
    }

    fn insert(set: &mut BlockedSet, address: IpAddr) -> Option<u64> {
        set.insert(address, set.hash(address))
    }

    fn contains(set: &BlockedSet, address: IpAddr) -> bool {
        set.contains(address, set.hash(address))
    }

    proptest! {
        #[test]
        fn agrees_with_two_queues(
            addresses in prop::collection::vec((address(), 0_u8..8), 1..400),
            caps in [1_usize..30, 1_usize..30],
            reserved in 0_usize..50,
        ) {
            let mut set = BlockedSet::new(caps[0], caps[1], HashKey::new(3));
            set.reserve(reserved, reserved / 2);
            let mut queues: [VecDeque<IpAddr>; 2] = Default::default();
            let mut forgotten = 0;
            for (address, choice) in addresses {
                let queue = &mut queues[usize::from(address.is_ipv6())];
                prop_assert_eq!(contains(&set, address), queue.contains(&address));
                if choice == 0 {
                    let before = queue.len();
                    queue.retain(|other| *other != address);
                    let hash = set.hash(address);
                    prop_assert_eq!(set.remove(address, hash), queue.len() < before);
                    prop_assert!(!contains(&set, address));
                    continue;
                }
                let mut oldest = None;
                if !queue.contains(&address) {
                    if queue.len() == caps[usize::from(address.is_ipv6())] {
                        oldest = queue.pop_front();
                        forgotten += 1;
                    }
                    queue.push_back(address);
                }
                let oldest = oldest.map(|oldest| set.hash(oldest));
                prop_assert_eq!(insert(&mut set, address), oldest);
                for other in 0..40_u32 {
                    let other = IpAddr::V4(other.into());
                    prop_assert_eq!(contains(&set, other), queues[0].contains(&other));
                }
                prop_assert_eq!(set.len(), queues[0].len() + queues[1].len());
                prop_assert_eq!(set.forgotten(), forgotten);
                let all = queues.iter().flatten().copied();
                prop_assert!(set.iter().eq(all));
            }
        }
    }

    #[test]
    fn families_do_not_mix() {
        let mut set = BlockedSet::new(10, 10, HashKey::new(3));
        let all: Vec<IpAddr> =
            ["0.0.0.1", "::1", "::ffff:0.0.0.2"].map(|a| a.parse().unwrap()).into();
        insert(&mut set, all[0]);
        assert!(!contains(&set, all[1]));
        insert(&mut set, all[2]);
        assert!(!contains(&set, "0.0.0.2".parse().unwrap()));
    }

    #[test]
    fn a_host_needs_at_most_the_documented_memory() {
        let mut set = BlockedSet::new(1 << 20, 1 << 20, HashKey::new(3));
        for number in 0..300_000_u32 {
            let (v4, v6) = (IpAddr::V4(number.into()), IpAddr::V6(u128::from(number).into()));
            insert(&mut set, if number % 2 == 0 { v4 } else { v6 });
            // With a few hundred hosts, the fixed part dominates.
            check(&set.v4, 20);
            check(&set.v6, 33);
        }
    }

    #[track_caller]
    fn check<A>(family: &Family<A>, each: usize) {
        let bytes = 8 * family.hashes.slots.capacity() + size_of::<A>() * family.order.capacity();
        let hosts = family.order.len();
        assert!(bytes <= each * hosts + 4_096, "{bytes} bytes for {hosts} hosts");
    }
}
