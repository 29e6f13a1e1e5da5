//! The hosts that have been dealt with.
//!
//! Membership is one hash look-up. The set has a cap; past it the host that
//! was added first is forgotten, so a host that is forgotten and comes back is
//! acted on once more, and memory stays flat under forged sources.

use alloc::vec::Vec;
use core::net::IpAddr;

use hashbrown::HashTable;

use crate::hash_key::{HashKey, address_bits};

/// A capped set of addresses, first in first out: 16 to 26 bytes an address.
#[derive(Debug)]
pub(crate) struct BlockedSet {
    v4: Family<u32>,
    v6: Family<u128>,
}

impl BlockedSet {
    /// A set of at most `v4` and `v6` addresses of these families. Allocates as
    /// it grows.
    pub(crate) fn new(v4: usize, v6: usize, key: &HashKey) -> Self {
        Self { v4: Family::new(v4, key.clone()), v6: Family::new(v6, key.clone()) }
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.contains(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.contains(v6.to_bits()),
        }
    }

    /// Adds `address`; `false` if it was there.
    pub(crate) fn insert(&mut self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.insert(v4.to_bits()),
            IpAddr::V6(v6) => self.v6.insert(v6.to_bits()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.order.len() + self.v6.order.len()
    }

    /// Addresses that had to make room for others since the start.
    pub(crate) fn forgotten(&self) -> u64 {
        self.v4.forgotten + self.v6.forgotten
    }
}

/// One family: the addresses in the order they came, as a ring once `cap` is
/// reached, and an index into it.
#[derive(Debug)]
struct Family<A> {
    index: HashTable<u32>,
    order: Vec<A>,
    oldest: usize,
    cap: usize,
    key: HashKey,
    forgotten: u64,
}

/// An address as a bare number.
trait Bits: Copy + Eq {
    fn bits(self) -> u128;
}

impl Bits for u32 {
    fn bits(self) -> u128 {
        address_bits(IpAddr::V4(self.into()))
    }
}

impl Bits for u128 {
    fn bits(self) -> u128 {
        self
    }
}

impl<A: Bits> Family<A> {
    fn new(cap: usize, key: HashKey) -> Self {
        let cap = cap.clamp(1, u32::MAX as usize);
        Self { index: HashTable::new(), order: Vec::new(), oldest: 0, cap, key, forgotten: 0 }
    }

    fn contains(&self, address: A) -> bool {
        let hash = self.key.hash(address.bits(), 0);
        self.index.find(hash, |&at| self.order.get(at as usize) == Some(&address)).is_some()
    }

    fn insert(&mut self, address: A) -> bool {
        if self.contains(address) {
            return false;
        }
        let at = if self.order.len() < self.cap {
            self.order.push(address);
            self.order.len() - 1
        } else {
            self.replace_oldest(address)
        };
        let hash = self.key.hash(address.bits(), 0);
        let (key, order) = (&self.key, &self.order);
        self.index.insert_unique(hash, at as u32, |&at| {
            order.get(at as usize).map_or(0, |address| key.hash(address.bits(), 0))
        });
        true
    }

    fn replace_oldest(&mut self, address: A) -> usize {
        let at = self.oldest;
        self.oldest = (at + 1) % self.cap;
        if let Some(slot) = self.order.get_mut(at) {
            let hash = self.key.hash(slot.bits(), 0);
            if let Ok(entry) = self.index.find_entry(hash, |&candidate| candidate as usize == at) {
                entry.remove();
            }
            *slot = address;
            self.forgotten += 1;
        }
        at
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

    proptest! {
        #[test]
        fn agrees_with_two_queues(
            addresses in prop::collection::vec(address(), 1..400),
            caps in [1_usize..30, 1_usize..30],
        ) {
            let mut set = BlockedSet::new(caps[0], caps[1], &HashKey::new(3));
            let mut queues: [VecDeque<IpAddr>; 2] = Default::default();
            let mut forgotten = 0;
            for address in addresses {
                let queue = &mut queues[usize::from(address.is_ipv6())];
                prop_assert_eq!(set.contains(address), queue.contains(&address));
                prop_assert_eq!(set.insert(address), !queue.contains(&address));
                if !queue.contains(&address) {
                    if queue.len() == caps[usize::from(address.is_ipv6())] {
                        queue.pop_front();
                        forgotten += 1;
                    }
                    queue.push_back(address);
                }
                for other in 0..40_u32 {
                    let other = IpAddr::V4(other.into());
                    prop_assert_eq!(set.contains(other), queues[0].contains(&other));
                }
                prop_assert_eq!(set.len(), queues[0].len() + queues[1].len());
                prop_assert_eq!(set.forgotten(), forgotten);
                prop_assert_eq!(set.v4.index.len(), queues[0].len());
                prop_assert_eq!(set.v6.index.len(), queues[1].len());
            }
        }
    }

    #[test]
    fn families_do_not_mix() {
        let mut set = BlockedSet::new(10, 10, &HashKey::new(3));
        let all: Vec<IpAddr> =
            ["0.0.0.1", "::1", "::ffff:0.0.0.2"].map(|a| a.parse().unwrap()).into();
        set.insert(all[0]);
        assert!(!set.contains(all[1]));
        set.insert(all[2]);
        assert!(!set.contains("0.0.0.2".parse().unwrap()));
    }
}
