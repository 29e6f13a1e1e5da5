//! Fetches the table entries of a batch together.
//!
//! If there are more sources than fit into the processor's cache, a decision mostly waits
//! for memory. This module affects only the speed, not the decisions.

use super::Engine;
use super::lookup_cache::Lookups;
use crate::{NetworkSet, Observation};

/// Number of attempts whose table entries are fetched together: few enough for the
/// first-level cache, and enough to keep the memory busy.
pub(super) const BATCH: usize = NetworkSet::BATCH;

impl Engine {
    /// Loads the table entries of the sources of `observations` into the processor's cache.
    /// Returns the lookups that are faster for a batch than one by one.
    pub(super) fn prefetch(
        &self,
        observations: &[Observation],
        hashes: &[u64; BATCH],
    ) -> [Lookups; BATCH] {
        // An empty list needs no search.
        let mut known = match self.policy.ignore.is_empty() {
            true => [Lookups::default().with_ignored(false); BATCH],
            false => [Lookups::default(); BATCH],
        };
        // Loops that contain only loads, so that the processor runs many in parallel.
        let mut sum = 0;
        if self.counts() {
            for hash in hashes.iter().take(observations.len()) {
                sum ^= self.sources.prefetch(*hash);
            }
        }
        if self.caches_lookups() {
            for (known, hash) in known.iter_mut().zip(hashes).take(observations.len()) {
                *known = self.lookups.get(*hash, &self.sources);
            }
        }
        if self.remembers() {
            for place in places(&known, |known| known.blocked().is_none()) {
                if let Some((observation, hash)) = observations.get(place).zip(hashes.get(place)) {
                    sum ^= self.blocked.prefetch(observation.source, *hash);
                }
            }
        }
        core::hint::black_box(sum);
        if !self.policy.ignore.is_empty() {
            let unknown = places(&known, |known| known.ignored().is_none());
            let sources =
                unknown.filter_map(|place| Some((place, observations.get(place)?.source)));
            let ignored = self.policy.ignore.contain_each(sources);
            for (bit, known) in known.iter_mut().enumerate() {
                *known = known.or_ignored(ignored >> bit & 1 == 1);
            }
        }
        known
    }
}

/// Returns the indices of the `wanted` lookups in a batch. They are computed before the
/// first is returned, so that a loop over them has no unpredictable branches.
fn places(known: &[Lookups; BATCH], wanted: fn(Lookups) -> bool) -> impl Iterator<Item = usize> {
    let bits = known.iter().rev().fold(0_u64, |bits, it| bits << 1 | u64::from(wanted(*it)));
    core::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
        .take_while(|bits| *bits != 0)
        .map(|bits| bits.trailing_zeros() as usize)
}
