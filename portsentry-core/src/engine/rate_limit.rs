//! At most so many per minute, counted exactly to the second.

use crate::Instant;

const SECONDS: usize = 60;

/// So many in any 60 seconds and no more: the limit of `BLOCK_RATE`.
///
/// The engine has one of its own. This is for whoever carries responses out and
/// does not want to take the engine's word for it.
#[derive(Debug)]
pub struct RateLimit {
    /// Counts of the last 60 seconds, one for each.
    counts: [u32; SECONDS],
    total: u32,
    second: u64,
}

impl Default for RateLimit {
    fn default() -> Self {
        Self { counts: [0; SECONDS], total: 0, second: 0 }
    }
}

impl RateLimit {
    /// Takes one of the `limit` that any 60 seconds have; `false` if none is
    /// left. 0 means no limit. O(1), at most 60 steps after a pause.
    pub fn take(&mut self, now: Instant, limit: u32) -> bool {
        self.advance(now.as_secs());
        if limit != 0 && self.total >= limit {
            return false;
        }
        let index = (self.second % SECONDS as u64) as usize;
        if let Some(count) = self.counts.get_mut(index) {
            *count = count.saturating_add(1);
            self.total = self.total.saturating_add(1);
        }
        true
    }

    fn advance(&mut self, second: u64) {
        if second.saturating_sub(self.second) >= SECONDS as u64 {
            *self = Self { second, ..Self::default() };
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
                }
            }
        }
    }
}
