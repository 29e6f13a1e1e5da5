//! Merged ranges of addresses.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::batch::Batch;
use super::sorted::Sorted;

/// Ranges in ascending order, disjoint and not adjacent.
///
/// First and last addresses are stored in separate arrays: the search reads only first
/// addresses, and twice as many of them fit into a cache line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ranges<T> {
    pub(super) first: Sorted<T>,
    pub(super) last: Box<[T]>,
}

impl<T: Copy + Ord> Ranges<T> {
    pub(super) fn merge(mut ranges: Vec<(T, T)>, next: fn(T) -> Option<T>) -> Self {
        // The order of ranges with the same first address does not matter.
        ranges.sort_unstable_by_key(|(first, _)| *first);
        let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                // `before` is the last address of all, or `first` is at most the next one.
                Some((_, before)) if next(*before).is_none_or(|next| first <= next) => {
                    *before = last.max(*before);
                }
                _ => merged.push((first, last)),
            }
        }
        let (first, last): (Vec<T>, Vec<T>) = merged.into_iter().unzip();
        Self { first: Sorted::new(&first), last: last.into() }
    }

    #[inline]
    pub(super) fn contains(&self, address: T) -> bool {
        self.holds(self.first.up_to(address), address)
    }

    /// Returns the bits of the addresses of `batch` that are in a range.
    pub(super) fn contain_each(&self, batch: &Batch<T>) -> u64 {
        let found = self.first.up_to_each(batch);
        batch.bits(found, |address, index| self.holds(index, address))
    }

    /// Returns whether the range before `index` contains `address`.
    #[inline]
    pub(super) fn holds(&self, index: usize, address: T) -> bool {
        let last = index.checked_sub(1).and_then(|before| self.last.get(before));
        last.is_some_and(|last| address <= *last)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (T, T)> {
        self.first.values().iter().copied().zip(self.last.iter().copied())
    }

    pub(super) fn len(&self) -> usize {
        self.last.len()
    }
}

/// Ranges of 128-bit addresses, with a copy of the upper halves of their first addresses.
///
/// The processor compares 64 bits at a time. The upper halves are sufficient, except for
/// ranges that start in the same /64 as the address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct WideRanges {
    pub(super) upper: Sorted<u64>,
    pub(super) ranges: Ranges<u128>,
}

impl WideRanges {
    pub(super) fn new(ranges: Ranges<u128>) -> Self {
        let first = ranges.first.values().iter();
        let upper: Vec<u64> = first.map(|first| upper_half(*first)).collect();
        Self { upper: Sorted::new(&upper), ranges }
    }

    #[inline]
    pub(super) fn contains(&self, address: u128) -> bool {
        let upper = upper_half(address);
        self.holds(self.upper.up_to(upper), address)
    }

    /// Searches like [`Ranges::contain_each`].
    pub(super) fn contain_each(&self, batch: &Batch<u128>) -> u64 {
        let found = self.upper.up_to_each(&batch.map(upper_half));
        batch.bits(found, |address, end| self.holds(end, address))
    }

    /// Returns whether a range before `end` contains `address`. `end` follows the last range
    /// that starts in the /64 of `address` or below.
    #[inline]
    pub(super) fn holds(&self, end: usize, address: u128) -> bool {
        let upper = upper_half(address);
        let values = self.upper.values();
        let before = end.checked_sub(1).and_then(|index| values.get(index));
        if before != Some(&upper) {
            return self.ranges.holds(end, address);
        }
        let start = values.partition_point(|first| *first < upper);
        let same_upper = self.ranges.first.values().get(start..end).unwrap_or_default();
        let above = start + same_upper.partition_point(|first| *first <= address);
        self.ranges.holds(above, address)
    }

    pub(super) fn len(&self) -> usize {
        self.ranges.len()
    }
}

fn upper_half(address: u128) -> u64 {
    (address >> 64) as u64
}
