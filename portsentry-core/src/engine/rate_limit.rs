//! A limit per minute, exact to the second.

use crate::Instant;

const SECONDS: usize = 60;

/// A limit in any 60 seconds: the limit of `BLOCK_RATE`.
///
/// The engine contains a limiter. This type is public for responders that enforce the
/// limit independently of the engine.
#[derive(Debug)]
pub struct RateLimit {
    /// The count of each of the last 60 seconds.
    counts: [u32; SECONDS],
    total: u32,
    second: u64,
    /// The second until which another limiter refuses.
    shut: u64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { counts: [0; SECONDS], total: 0, second: 0, shut: 0 }
    }
}

impl RateLimit {
    /// Counts one if fewer than `limit` were counted in the last 60 seconds. Returns false
    /// otherwise. 0 means no limit. O(1), at most 60 steps after a pause.
    pub fn take(&mut self, now: Instant, limit: u32) -> bool {
        self.advance(now.as_secs());
        if self.second < self.shut || limit != 0 && self.total >= limit {
            return false;
        }
        let index = (self.second % SECONDS as u64) as usize;
        if let Some(count) = self.counts.get_mut(index) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
        true
    }

    /// Returns the time from which [`take`](Self::take) succeeds again, after it failed for
    /// `limit`, which must not be 0. At most 60 steps.
    pub fn free_at(&self, limit: u32) -> Instant {
        let mut left = self.total;
        // The oldest of the 60 seconds is dropped first.
        for later in 1..=SECONDS as u64 {
            if left < limit {
                return Instant::from_secs(self.second + later - 1);
            }
            let index = ((self.second + later) % SECONDS as u64) as usize;
            left -= self.counts.get(index).copied().unwrap_or_default().min(left);
        }
        Instant::from_secs(self.second + SECONDS as u64)
    }

    /// Reverts the last [`take`](Self::take), because it was not used. At most 60 steps.
    pub fn give_back(&mut self) {
        for earlier in 0..SECONDS as u64 {
            let index = (self.second + SECONDS as u64 - earlier) % SECONDS as u64;
            if let Some(count) = self.counts.get_mut(index as usize).filter(|count| **count > 0) {
                *count -= 1;
                self.total = self.total.saturating_sub(1);
                return;
            }
        }
    }

    /// Refuses until `until`, in whole seconds.
    pub(super) fn shut_until(&mut self, until: Instant) {
        self.shut = until.as_secs();
    }

    fn advance(&mut self, second: u64) {
        if second.saturating_sub(self.second) >= SECONDS as u64 {
            *self = Self { second, shut: self.shut, ..Self::default() };
        }
        while self.second < second {
            self.second += 1;
            let index = (self.second % SECONDS as u64) as usize;
            if let Some(count) = self.counts.get_mut(index) {
                self.total = self.total.saturating_sub(*count);
                *count = 0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_list_of_all_times(
            waits in prop::collection::vec(prop_oneof![0_u64..3, 0_u64..200], 1..300),
            limit in 0_u32..6,
        ) {
            let mut rate = RateLimit::default();
            let mut taken: Vec<u64> = Vec::new();
            let mut now = 0;
            for wait in waits {
                now += wait;
                let recent = taken.iter().filter(|&&then| now - then < 60).count();
                let expected = limit == 0 || recent < limit as usize;
                prop_assert_eq!(rate.take(Instant::from_secs(now), limit), expected);
                if expected {
                    taken.push(now);
                } else {
                    let free = (now..).find(|later| {
                        taken.iter().filter(|&&then| later - then < 60).count() < limit as usize
                    });
                    prop_assert_eq!(rate.free_at(limit).as_secs(), free.unwrap());
                }
            }
        }

        /// Two limiters ask a third one, and revert if it refuses. Neither of them refuses
        /// if the third would allow, nor asks the third again before its time.
        #[test]
        fn a_share_of_a_limit_refuses_only_if_the_whole_refuses(
            asked in prop::collection::vec((0_u64..3, 0_usize..2), 1..300),
            limit in 1_u32..6,
        ) {
            let (mut whole, mut naive) = (RateLimit::default(), RateLimit::default());
            let mut shares = [RateLimit::default(), RateLimit::default()];
            let mut now = 0;
            for (wait, share) in asked {
                now += wait * wait * wait;
                let at = Instant::from_secs(now);
                let share = &mut shares[share];
                let mut granted = share.take(at, limit);
                if granted && !whole.take(at, limit) {
                    granted = false;
                    share.give_back();
                    share.shut_until(whole.free_at(limit));
                    prop_assert!(!share.take(at, limit));
                }
                prop_assert_eq!(granted, naive.take(at, limit), "at {}", now);
            }
        }
    }
}
