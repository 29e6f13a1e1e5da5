//! A search tree over sorted values.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::batch::{Batch, LENGTH};

/// Number of values in a node of [`Sorted`]: a cache line of 32-bit addresses.
const NODE: usize = 16;

/// Sorted values in an implicit tree: the lowest level contains all values, and each
/// higher level every 16th value of the level below.
///
/// A search reads one node per level, and compares all values of a node in parallel and
/// without a branch. It reads five nodes for 100,000 values, where a binary search has 17
/// steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sorted<T> {
    /// The levels, from the values to the root, which is one node. The last node of each
    /// level is padded with its last value.
    levels: Vec<Box<[[T; NODE]]>>,
    length: usize,
}

impl<T: Copy + Ord> Sorted<T> {
    pub(super) fn new(values: &[T]) -> Self {
        let mut levels: Vec<Box<[[T; NODE]]>> = Vec::new();
        let mut rest = values.to_vec();
        while let Some(&last) = rest.last() {
            rest.resize(rest.len().next_multiple_of(NODE), last);
            let level: Box<[[T; NODE]]> =
                rest.chunks_exact(NODE).filter_map(|node| node.first_chunk().copied()).collect();
            rest = match level.len() {
                1 => Vec::new(),
                _ => level.iter().flat_map(|node| node.first().copied()).collect(),
            };
            levels.push(level);
        }
        Self { levels, length: values.len() }
    }

    /// Returns the number of values up to and including `most`.
    #[inline]
    pub(super) fn up_to(&self, most: T) -> usize {
        let found = self.levels.iter().rev().fold(0, |found, level| descend(level, found, most));
        (found as usize).min(self.length)
    }

    /// Returns the result of [`up_to`](Self::up_to) for each address of a batch. All searches
    /// read one level before the next, so that they do not wait for their previous step.
    pub(super) fn up_to_each(&self, batch: &Batch<T>) -> [u32; LENGTH] {
        let mut found = [0; LENGTH];
        if batch.length > 0 {
            for level in self.levels.iter().rev() {
                for (found, most) in found.iter_mut().zip(batch.addresses()) {
                    *found = descend(level, *found, most);
                }
            }
        }
        found.map(|found| found.min(self.length as u32))
    }

    pub(super) fn values(&self) -> &[T] {
        let filled = self.levels.first().map_or(&[][..], |level| level.as_flattened());
        filled.get(..self.length).unwrap_or_default()
    }
}

/// Returns the number of values in `level` up to and including `most`. `above` is the same
/// number for the level above, which selects the node to search.
#[inline]
fn descend<T: Copy + Ord>(level: &[[T; NODE]], above: u32, most: T) -> u32 {
    let node = above.saturating_sub(1).min(level.len().saturating_sub(1) as u32);
    let values = level.get(node as usize);
    let small = |values: &[T; NODE]| values.iter().map(|it| u32::from(*it <= most)).sum::<u32>();
    node * NODE as u32 + values.map_or(0, small)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_agrees_with_a_linear_search() {
        for length in [0, 1, 15, 16, 17, 255, 256, 257, 4_095, 4_097, 70_000_u32] {
            // Even values, each twice.
            let values: Vec<u32> = (0..length).map(|n| n / 2 * 2 + 10).collect();
            let tree = Sorted::new(&values);
            assert_eq!(tree.values(), values);
            let mut walked = 0;
            for most in (0..length + 20).chain([u32::MAX]) {
                walked += values[walked..].iter().take_while(|value| **value <= most).count();
                assert_eq!(tree.up_to(most), walked, "{most} among {length}");
            }
        }
    }
}
