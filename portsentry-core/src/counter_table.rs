//! A bounded table of small counters, one for each source address.
//!
//! The table is a fixed array of buckets with four slots each, like a set-associative cache. A
//! keyed hash of the address selects the only bucket that can hold its counter. If that bucket is
//! full, the least interesting entry is evicted: the one with the fewest probes, and among
//! equals the one that was updated longest ago. Time and memory of an update are therefore constant, and nothing is rehashed,
//! linked or swept. A flood of forged sources, each with one probe, cannot evict a scanner that
//! has two.
//!
//! A bucket is one cache line, because with many sources an update mostly waits for memory. To
//! fit, a slot holds the 64 bits of the hash and not the address. Two addresses with the same hash
//! would share a counter. Among a million sources, the chance of one such pair is 1 in
//! 4 million. Without the key, an attacker cannot choose such addresses.

use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use crate::Instant;
use crate::hash_key::HashKey;

/// Size of a cache line and of a bucket, in bytes.
const LINE: usize = 64;

/// A hash and a [`Meta`]. An empty slot is all zeros, so that the pages of a new table
/// are not touched.
type Slot = [u64; 2];

/// Number of slots in a bucket.
const WAYS: usize = LINE / size_of::<Slot>();

/// Maximum number of slots in a table, 1 GiB.
pub(crate) const MAX_SLOTS: usize = 1 << 26;

/// A bounded number of counters, by the hash of address and tag.
#[derive(Debug)]
pub(crate) struct CounterTable {
    slots: Vec<Slot>,
    /// Index of the first bucket, which aligns buckets to cache lines.
    first: usize,
    buckets: usize,
    key: HashKey,
    evicted: u64,
    in_use: usize,
}

/// The second word of a slot: count (upper 16 bits), second of the last update (32 bits)
/// and cache word (lower 16 bits).
#[derive(Clone, Copy)]
struct Meta(u64);

impl Meta {
    fn new(count: u16, seen: u32, cached: u16) -> Self {
        Self(u64::from(count) << 48 | u64::from(seen) << 16 | u64::from(cached))
    }

    fn count(self) -> u16 {
        (self.0 >> 48) as u16
    }

    fn seen(self) -> u32 {
        (self.0 >> 16) as u32
    }

    fn cached(self) -> u16 {
        self.0 as u16
    }

    /// Returns the rank for eviction; the entry with the lowest rank is evicted. A lower
    /// count has a lower rank, then an earlier update. An empty slot has the lowest.
    fn rank(self) -> u64 {
        self.0 >> 16
    }
}

/// The time window of a counter, in whole seconds. `u32::MAX` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Window {
    /// The window restarts with every update.
    Sliding(u32),
    /// The window starts with the first update and has a fixed length.
    Fixed(u32),
}

impl Window {
    /// Returns a window that restarts with every update. `None` is unlimited.
    pub(crate) fn sliding(length: Option<Duration>) -> Self {
        let seconds = length.map(|length| u32::try_from(length.as_secs()).unwrap_or(u32::MAX));
        Self::Sliding(seconds.unwrap_or(u32::MAX))
    }

    const fn includes(self, age: u32) -> bool {
        let (Self::Sliding(length) | Self::Fixed(length)) = self;
        length == u32::MAX || age < length
    }
}

impl CounterTable {
    /// Creates a table of at least `capacity` slots, 16 bytes each. A `capacity` above
    /// [`MAX_SLOTS`] is reduced to it. Memory is touched only as sources arrive.
    pub(crate) fn new(capacity: usize, key: HashKey) -> Self {
        let buckets = capacity.min(MAX_SLOTS).div_ceil(WAYS).max(1);
        // One more bucket leaves room to align the first one, which the allocator does not.
        let slots = vec![[0; 2]; (buckets + 1) * WAYS];
        let first = slots.as_ptr().align_offset(LINE).min(WAYS);
        Self { slots, first, buckets, key, evicted: 0, in_use: 0 }
    }

    /// Returns the hash that identifies the counter of `address` and `tag`.
    pub(crate) fn hash(&self, address: u128, tag: u16) -> u64 {
        self.key.hash(address, tag)
    }

    /// Adds one to the counter of this hash. Returns the new count, at most 65,535. Reads
    /// one cache line and makes four comparisons.
    pub(crate) fn bump(&mut self, hash: u64, now: Instant, window: Window) -> u16 {
        let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        let Some(bucket) = self.bucket_mut(hash) else { return 1 };
        if let Some(slot) = slot_of(bucket, hash) {
            let meta = Meta(slot[1]);
            let age = seconds.saturating_sub(meta.seen());
            let fresh = window.includes(age);
            let count = if fresh { meta.count().saturating_add(1) } else { 1 };
            let seen = match window {
                Window::Fixed(_) if fresh => meta.seen(),
                // A time before the last update counts as the last update.
                _ => seconds.max(meta.seen()),
            };
            slot[1] = Meta::new(count, seen, meta.cached()).0;
            return count;
        }
        let Some(victim) = bucket.iter_mut().min_by_key(|slot| Meta(slot[1]).rank()) else {
            return 1;
        };
        let was_empty = Meta(victim[1]).count() == 0;
        *victim = [hash, Meta::new(1, seconds, 0).0];
        if was_empty {
            self.in_use += 1;
        } else {
            self.evicted += 1;
        }
        1
    }

    /// Returns the cache word of the counter of this hash: 0 if the counter is new or does
    /// not exist.
    pub(crate) fn cached(&self, hash: u64) -> u16 {
        self.slot(hash).map_or(0, |slot| Meta(slot[1]).cached())
    }

    /// Sets the cache word of the counter of this hash, if the counter exists. The word
    /// exists as long as the counter.
    pub(crate) fn set_cached(&mut self, hash: u64, cached: u16) {
        if let Some(slot) = self.bucket_mut(hash).and_then(|bucket| slot_of(bucket, hash)) {
            let meta = Meta(slot[1]);
            slot[1] = Meta::new(meta.count(), meta.seen(), cached).0;
        }
    }

    /// Sets every cache word to 0. Reads and writes the whole table.
    pub(crate) fn clear_cached(&mut self) {
        for slot in self.slots.iter_mut().filter(|slot| slot[0] != 0) {
            slot[1] = Meta(slot[1]).rank() << 16;
        }
    }

    /// Returns the count of this hash at its last update; 0 if it has no counter.
    pub(crate) fn count(&self, hash: u64) -> u16 {
        self.slot(hash).map_or(0, |slot| Meta(slot[1]).count())
    }

    /// Removes the counter of this hash. Returns its count.
    pub(crate) fn remove(&mut self, hash: u64) -> u16 {
        let Some(bucket) = self.bucket_mut(hash) else { return 0 };
        let place = place_of(bucket, hash);
        let Some(rest) = bucket.get_mut(place..) else { return 0 };
        let count = rest.first().map_or(0, |slot| Meta(slot[1]).count());
        if count == 0 {
            return 0;
        }
        // Empty slots are at the end of their bucket. The others keep their order.
        rest.rotate_left(1);
        if let Some(last) = rest.last_mut() {
            *last = [0; 2];
        }
        self.in_use -= 1;
        count
    }

    /// Reads the cache line that [`bump`](Self::bump) would read. The returned value has
    /// no meaning.
    pub(crate) fn prefetch(&self, hash: u64) -> u64 {
        self.slots.get(self.start(hash)).map_or(0, |slot| slot[0])
    }

    /// Returns the number of evicted counters since the start.
    pub(crate) fn evicted(&self) -> u64 {
        self.evicted
    }

    /// Returns the number of counters.
    pub(crate) fn len(&self) -> usize {
        self.in_use
    }

    /// Returns the bucket of a hash. Every hash has one.
    fn bucket(&self, hash: u64) -> Option<&[Slot; WAYS]> {
        self.slots.get(self.start(hash)..)?.first_chunk()
    }

    fn bucket_mut(&mut self, hash: u64) -> Option<&mut [Slot; WAYS]> {
        let start = self.start(hash);
        self.slots.get_mut(start..)?.first_chunk_mut()
    }

    /// Returns the slot of this hash, or an empty one, which looks like the slot of hash 0.
    fn slot(&self, hash: u64) -> Option<&Slot> {
        let bucket = self.bucket(hash)?;
        bucket.get(place_of(bucket, hash))
    }

    /// Returns the index of the first slot of the bucket of a hash.
    fn start(&self, hash: u64) -> usize {
        // Multiply-shift: the hash as a fraction of the number of buckets.
        let index = (u128::from(hash) * self.buckets as u128) >> 64;
        self.first + index as usize * WAYS
    }
}

/// Returns the used slot of this hash.
fn slot_of(bucket: &mut [Slot; WAYS], hash: u64) -> Option<&mut Slot> {
    // Empty slots look like those of hash 0, and are at the end of their bucket.
    let place = place_of(bucket, hash);
    bucket.get_mut(place).filter(|slot| Meta(slot[1]).count() > 0)
}

/// Returns the index of the first slot of this hash in its bucket; an index after the
/// bucket if there is none.
///
/// Compares all slots without a branch. The index is not predictable, and a mispredicted
/// branch costs more than the comparisons.
fn place_of(bucket: &[Slot; WAYS], hash: u64) -> usize {
    let each = bucket.iter().rev();
    let found = each.fold(1, |found, slot| found << 1 | u32::from(slot[0] == hash));
    found.trailing_zeros() as usize
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const FOR_EVER: Window = Window::Sliding(u32::MAX);

    fn table(capacity: usize) -> CounterTable {
        CounterTable::new(capacity, HashKey::new(1))
    }

    /// The same rules on a plain list, for a table of a single bucket.
    #[derive(Default)]
    struct Model {
        /// Address, tag, count, second.
        entries: Vec<(u128, u16, u16, u32)>,
        evicted: u64,
    }

    impl Model {
        fn bump(&mut self, address: u128, tag: u16, now: u32, window: Window) -> u16 {
            let known = self.entries.iter_mut().find(|entry| (entry.0, entry.1) == (address, tag));
            if let Some(entry) = known {
                let expired = !window.includes(now - entry.3);
                if expired {
                    (entry.2, entry.3) = (1, now);
                } else {
                    entry.2 += 1;
                    if matches!(window, Window::Sliding(_)) {
                        entry.3 = now;
                    }
                }
                return entry.2;
            }
            if self.entries.len() == WAYS {
                // Among entries with the same rank, the first is evicted.
                let least = self.entries.iter().map(|entry| (entry.2, entry.3)).min().unwrap();
                let at = self.entries.iter().position(|e| (e.2, e.3) == least).unwrap();
                self.evicted += 1;
                self.entries[at] = (address, tag, 1, now);
            } else {
                self.entries.push((address, tag, 1, now));
            }
            1
        }
    }

    /// The hash that an empty slot contains.
    #[test]
    fn hash_zero_is_counted_like_any_other() {
        let mut table = table(WAYS);
        let bump = |table: &mut CounterTable, hash| table.bump(hash, Instant::default(), FOR_EVER);
        table.set_cached(0, 7);
        assert_eq!((table.cached(0), table.len()), (0, 0), "no counter, no cache word");
        assert_eq!([5, 0, 9, 0, 5].map(|hash| bump(&mut table, hash)), [1, 1, 1, 2, 2]);
        table.set_cached(0, 7);
        assert_eq!((table.cached(0), table.len()), (7, 3));
        assert_eq!(bump(&mut table, 0), 3);
    }

    #[test]
    fn removing_a_counter_keeps_the_others() {
        let mut table = table(WAYS);
        for hash in [5, 9, 9, 0, 7] {
            table.bump(hash, Instant::default(), FOR_EVER);
        }
        assert_eq!((table.remove(5), table.remove(5), table.len()), (1, 0, 3));
        assert_eq!([5, 9, 0, 7].map(|hash| table.count(hash)), [0, 2, 1, 1]);
        assert_eq!(table.bump(5, Instant::default(), FOR_EVER), 1);
        assert_eq!((table.len(), table.evicted()), (4, 0));
    }

    /// A capacity above all memory once overflowed to a table of one slot.
    #[test]
    fn an_extreme_capacity_is_reduced_to_the_maximum() {
        let mut table = table(usize::MAX);
        assert_eq!(table.slots.len(), MAX_SLOTS + WAYS);
        let hashes = [1, u64::MAX / 2, u64::MAX];
        for count in 1..4 {
            assert_eq!(hashes.map(|it| table.bump(it, Instant::default(), FOR_EVER)), [count; 3]);
        }
    }

    proptest! {
        #[test]
        fn one_bucket_agrees_with_a_list(
            bumps in prop::collection::vec((0_u128..7, 0_u16..2, 0_u64..4), 1..400),
            window in prop::option::of(1_u32..20),
            first_update in any::<bool>(),
        ) {
            let length = window.unwrap_or(u32::MAX);
            let window = if first_update { Window::Fixed(length) } else { Window::Sliding(length) };
            let mut table = table(WAYS);
            let mut model = Model::default();
            let mut now = 0;
            for (address, tag, wait) in bumps {
                now += wait;
                let got = table.bump(table.hash(address, tag), Instant::from_secs(now), window);
                let expected = model.bump(address, tag, now as u32, window);
                prop_assert_eq!(got, expected);
                prop_assert_eq!(table.len(), model.entries.len());
                prop_assert_eq!(table.evicted(), model.evicted);
            }
        }

        #[test]
        fn a_table_with_room_counts_exactly(
            addresses in prop::collection::vec(0_u128..200, 1..2_000),
        ) {
            // 200 addresses in 4,096 buckets: no bucket gets more than four.
            let mut table = table(4_096 * WAYS);
            let mut counts = std::collections::HashMap::new();
            for address in addresses {
                let expected = counts.entry(address).and_modify(|n| *n += 1).or_insert(1_u16);
                let got = table.bump(table.hash(address, 0), Instant::default(), FOR_EVER);
                prop_assert_eq!(got, *expected);
            }
            prop_assert_eq!(table.evicted(), 0);
            prop_assert_eq!(table.len(), counts.len());
        }
    }

    #[test]
    fn a_flood_of_single_probes_does_not_evict_a_scanner() {
        let mut table = table(1_024);
        let scanner = u128::MAX;
        for round in 1..=20 {
            let now = Instant::from_secs(round);
            let count = table.bump(table.hash(scanner, 0), now, FOR_EVER);
            // Its first probe has the rank of any other. It stays from the second probe.
            assert!(round < 3 || u64::from(count) >= round - 1, "round {round}: {count}");
            let flood = if round == 1 { 0 } else { 50_000 };
            for forged in 0..flood {
                let address = u128::from(round << 32 | forged);
                table.bump(table.hash(address, 0), now, FOR_EVER);
            }
        }
        assert!(table.len() <= 1_024);
        assert!(table.evicted() > 900_000);
    }
}
