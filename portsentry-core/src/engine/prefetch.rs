//! Table entries of a batch, fetched together.
//!
//! With more sources than the processor's cache holds, most of the time of a decision is
//! spent waiting for memory. This module decides nothing: a batch ends alike with and
//! without it.

use super::Engine;
use super::lookup_cache::Lookups;
use crate::{NetworkSet, Observation};

/// Attempts of a batch whose table entries are fetched together: few enough for
/// the first-level cache, many enough to keep memory busy.
pub(super) const BATCH: usize = NetworkSet::BATCH;

impl Engine {
    /// Has the processor bring what the sources of `observations` need into its
    /// cache, and gives what is quicker to find out for all of them at once.
    pub(super) fn prefetch(
        &self,
        observations: &[Observation],
        hashes: &[u64; BATCH],
    ) -> [Lookups; BATCH] {
        // An empty list needs no look.
        let mut known = match self.policy.ignore.is_empty() {
            true => [Lookups::default().with_ignored(false); BATCH],
            false => [Lookups::default(); BATCH],
        };
        // Loops that are nothing but loads, so that many are under way at once.
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

/// Where in a batch those are that are `wanted`, found before the first is given: a
/// loop over them has no branch to be guessed for each.
fn places(known: &[Lookups; BATCH], wanted: fn(Lookups) -> bool) -> impl Iterator<Item = usize> {
    let bits = known.iter().rev().fold(0_u64, |bits, it| bits << 1 | u64::from(wanted(*it)));
    core::iter::successors(Some(bits), |bits| Some(bits & bits.wrapping_sub(1)))
        .take_while(|bits| *bits != 0)
        .map(|bits| bits.trailing_zeros() as usize)
}
