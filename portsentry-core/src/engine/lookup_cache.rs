//! Cached results of lookups, stored next to the counter of a source.
//!
//! A scanner sends more than one probe. The ignore list and the blocked set are searched
//! only for the first one: the results are cached in the slot of its counter, which each
//! probe reads anyway. Nothing is cached for a source without a counter, such as an
//! ignored source.

use super::Advice;
use crate::counter_table::CounterTable;

/// Results of the lookups of one source: a flag for each result, and whether
/// they are cached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lookups(u8);

impl Lookups {
    const NOT_IGNORED: u8 = 1;
    const IGNORED: u8 = 1 << 1;
    const NOT_BLOCKED: u8 = 1 << 2;
    const BLOCKED: u8 = 1 << 3;
    const CACHED: u8 = 1 << 4;
    // The advice of the caller is never cached.
    const TRIGGERED: u8 = 1 << 5;
    const SPARED: u8 = 1 << 6;

    /// Returns whether the source is on the ignore list, if that is known.
    pub(super) const fn ignored(self) -> Option<bool> {
        self.answer(Self::IGNORED, Self::NOT_IGNORED)
    }

    /// Returns whether the source is in the blocked set, if that is known.
    pub(super) const fn blocked(self) -> Option<bool> {
        self.answer(Self::BLOCKED, Self::NOT_BLOCKED)
    }

    /// Adds the advice of the caller, see [`Advice`].
    pub(super) const fn advised(self, advice: Advice) -> Self {
        match advice {
            Advice::None => self,
            Advice::Ignore => self.with_ignored(true),
            Advice::Trigger => Self(self.0 | Self::TRIGGERED),
            Advice::Spare => Self(self.0 | Self::SPARED),
        }
    }

    /// Returns whether the caller advised that the source has reached the trigger.
    pub(super) const fn is_triggered(self) -> bool {
        self.0 & Self::TRIGGERED != 0
    }

    /// Returns whether the caller advised not to respond.
    pub(super) const fn is_spared(self) -> bool {
        self.0 & Self::SPARED != 0
    }

    /// Returns whether these results are from the cache.
    pub(super) const fn is_cached(self) -> bool {
        self.0 & Self::CACHED != 0
    }

    /// Adds whether the source is on the ignore list.
    pub(super) const fn with_ignored(self, ignored: bool) -> Self {
        Self(self.0 | if ignored { Self::IGNORED } else { Self::NOT_IGNORED })
    }

    /// Adds whether the source is on the ignore list, unless that is known.
    pub(super) const fn or_ignored(self, ignored: bool) -> Self {
        // Computing both values avoids a branch.
        let (known, results) =
            (self.0 & (Self::IGNORED | Self::NOT_IGNORED), self.with_ignored(ignored));
        if known == 0 { results } else { self }
    }

    /// Adds whether the source is in the blocked set.
    pub(super) const fn with_blocked(self, blocked: bool) -> Self {
        Self(self.0 | if blocked { Self::BLOCKED } else { Self::NOT_BLOCKED })
    }

    const fn answer(self, yes: u8, no: u8) -> Option<bool> {
        if self.0 & (yes | no) == 0 { None } else { Some(self.0 & yes != 0) }
    }
}

/// Bits of a cache word for the results. The generation is stored above them.
const RESULT_BITS: u32 = 5;

/// The last generation that fits into a cache word.
const LAST_GENERATION: u16 = u16::MAX >> RESULT_BITS;

/// Reads and writes cached results, which are valid for one generation of the rules.
#[derive(Debug)]
pub(super) struct LookupCache {
    /// From 1: 0, the cache word of a new counter, belongs to no generation.
    generation: u16,
}

impl LookupCache {
    pub(super) const fn new() -> Self {
        Self { generation: 1 }
    }

    /// Returns the cached results of the source whose counter has this hash.
    pub(super) fn get(&self, hash: u64, counters: &CounterTable) -> Lookups {
        let word = counters.cached(hash);
        let is_current = word >> RESULT_BITS == self.generation;
        Lookups(if is_current { word as u8 & ((1 << RESULT_BITS) - 1) } else { 0 })
    }

    /// Caches the results of a source, if it has a counter.
    pub(super) fn store(&self, results: Lookups, hash: u64, counters: &mut CounterTable) {
        let bits = u16::from(results.0 | Lookups::CACHED);
        counters.set_cached(hash, self.generation << RESULT_BITS | bits);
    }

    /// Drops the cached results of this source.
    pub(super) fn invalidate(&self, hash: u64, counters: &mut CounterTable) {
        counters.set_cached(hash, 0);
    }

    /// Drops all cached results. Constant time, except for one call in 2,047, which clears
    /// all counters' cache words.
    pub(super) fn invalidate_all(&mut self, counters: &mut CounterTable) {
        if self.generation == LAST_GENERATION {
            counters.clear_cached();
            self.generation = 0;
        }
        self.generation += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counter_table::Window;
    use crate::{HashKey, Instant};

    #[test]
    fn a_result_is_cached_until_all_are_invalidated() {
        let mut counters = CounterTable::new(64, HashKey::new(1));
        let mut lookups = LookupCache::new();
        let [known, other] = [1, 2].map(|address| counters.hash(address, 0));
        // Generations wrap twice, and no result of an old round returns.
        for round in 0..=2 * u32::from(LAST_GENERATION) {
            assert_eq!(lookups.get(known, &counters), Lookups::default(), "round {round}");
            counters.bump(known, Instant::default(), Window::sliding(None));
            for blocked in [false, true] {
                let results = Lookups::default().with_ignored(false).with_blocked(blocked);
                lookups.store(results, known, &mut counters);
                let cached = lookups.get(known, &counters);
                let results = (cached.ignored(), cached.blocked(), cached.is_cached());
                assert_eq!(results, (Some(false), Some(blocked), true), "round {round}");
            }
            // Nothing is cached for a source without a counter.
            lookups.store(Lookups::default(), other, &mut counters);
            assert_eq!(lookups.get(other, &counters), Lookups::default());
            lookups.invalidate_all(&mut counters);
        }
    }

    #[test]
    fn one_source_is_invalidated_alone() {
        let mut counters = CounterTable::new(64, HashKey::new(1));
        let lookups = LookupCache::new();
        let hashes = [1, 2].map(|address| counters.hash(address, 0));
        for hash in hashes {
            counters.bump(hash, Instant::default(), Window::sliding(None));
            lookups.store(Lookups::default().with_ignored(false), hash, &mut counters);
        }
        lookups.invalidate(hashes[0], &mut counters);
        let results = hashes.map(|hash| lookups.get(hash, &counters).ignored());
        assert_eq!(results, [None, Some(false)]);
        // The counters are unchanged.
        let counts = hashes.map(|it| counters.bump(it, Instant::default(), Window::sliding(None)));
        assert_eq!(counts, [2, 2]);
    }
}
