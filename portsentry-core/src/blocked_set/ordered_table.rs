//! An ordered hash table.

use alloc::vec;
use alloc::vec::Vec;

/// Hashes in ascending order, with empty slots between them.
///
/// The home slot of a hash is its fraction of the length. A hash is stored at its home, or
/// in a later slot if all slots from the home to there are in use. A larger hash never has
/// an earlier home, so the hashes are in ascending order: a search ends at the first larger
/// hash, and a copy needs no search. (Amble and Knuth, "Ordered hash
/// tables", 1974.)
#[derive(Debug)]
pub(super) struct OrderedTable {
    /// The hashes; 0 is an empty slot.
    pub(super) slots: Vec<u64>,
    /// Number of home slots. The slots after them are for hashes that find theirs occupied.
    homes: usize,
    /// Maximum number of hashes.
    pub(super) capacity: usize,
}

impl OrderedTable {
    /// Creates a table for `capacity` hashes, with a quarter more slots, so that an
    /// unsuccessful search reads three slots on average.
    pub(super) fn new(capacity: usize) -> Self {
        let homes = capacity + capacity.div_ceil(4);
        Self { slots: vec![0; homes + homes.min(64)], homes, capacity }
    }

    pub(super) fn contains(&self, hash: u64) -> bool {
        let found = self.behind_home(hash).iter().find(|slot| **slot >= hash || **slot == 0);
        found == Some(&hash)
    }

    pub(super) fn prefetch(&self, hash: u64) -> u64 {
        self.slots.get(self.home(hash)).copied().unwrap_or_default()
    }

    /// Adds a hash. Returns false if the table contains it.
    pub(super) fn insert(&mut self, hash: u64) -> bool {
        let home = self.home(hash);
        let behind = self.slots.get_mut(home..).unwrap_or_default();
        let mut moved = hash;
        for slot in behind {
            if *slot == moved {
                // The moved hashes differ from the next one.
                return false;
            }
            if *slot == 0 {
                *slot = moved;
                return true;
            }
            if *slot > moved {
                core::mem::swap(slot, &mut moved);
            }
        }
        self.slots.push(moved);
        true
    }

    /// Removes a hash. The following hashes that are not in their home slot move forward.
    pub(super) fn remove(&mut self, hash: u64) {
        let home = self.home(hash);
        let Some(at) = self.behind_home(hash).iter().position(|slot| *slot == hash) else { return };
        let mut hole = home + at;
        while let Some(&next) = self.slots.get(hole + 1) {
            if next == 0 || self.home(next) > hole {
                break;
            }
            self.set(hole, next);
            hole += 1;
        }
        self.set(hole, 0);
    }

    /// Returns a table with the same hashes and a larger capacity.
    pub(super) fn with_capacity(&self, capacity: usize) -> Self {
        let mut copy = Self::new(capacity);
        let mut next = 0;
        for &hash in self.slots.iter().filter(|slot| **slot != 0) {
            let at = copy.home(hash).max(next);
            if at >= copy.slots.len() {
                copy.slots.resize(at + 1, 0);
            }
            copy.set(at, hash);
            next = at + 1;
        }
        copy
    }

    fn home(&self, hash: u64) -> usize {
        ((u128::from(hash) * self.homes as u128) >> 64) as usize
    }

    fn behind_home(&self, hash: u64) -> &[u64] {
        self.slots.get(self.home(hash)..).unwrap_or_default()
    }

    fn set(&mut self, at: usize, hash: u64) {
        if let Some(slot) = self.slots.get_mut(at) {
            *slot = hash;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Close hashes, also at the upper end of the table.
        #[test]
        fn hashes_agree_with_a_tree(
            steps in prop::collection::vec(
                (any::<bool>(), prop_oneof![1_u64..60, (0_u64..60).prop_map(|n| u64::MAX - n)]),
                1..300,
            ),
            capacity in 1_usize..40,
        ) {
            let mut hashes = OrderedTable::new(capacity);
            let mut tree = BTreeSet::new();
            for (add, hash) in steps {
                if add {
                    prop_assert_eq!(hashes.insert(hash), tree.insert(hash));
                } else {
                    hashes.remove(hash);
                    tree.remove(&hash);
                }
                for copy in [&hashes, &hashes.with_capacity(capacity + tree.len())] {
                    let held = copy.slots.iter().copied().filter(|slot| *slot != 0);
                    prop_assert!(held.eq(tree.iter().copied()));
                    prop_assert!(tree.iter().all(|hash| copy.contains(*hash)));
                    prop_assert!((1..70).all(|n| copy.contains(n) == tree.contains(&n)));
                }
            }
        }
    }
}
