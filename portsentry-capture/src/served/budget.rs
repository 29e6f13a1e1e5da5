//! A limit of events per second.

use portsentry_core::Instant;

const SECOND: u64 = 1_000_000_000;

/// A token bucket: `rate` tokens per second, and as many at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    rate: u32,
    /// Time, in nanoseconds of tokens, that was saved; a token is `SECOND` of `rate`.
    saved: u64,
    last: Option<Instant>,
}

impl Budget {
    pub(super) const fn new(rate: u32) -> Self {
        Self { rate, saved: rate as u64 * SECOND, last: None }
    }

    /// Returns the lowest bits of `wanted` for which there are tokens, and takes these.
    pub(super) fn take(&mut self, wanted: u64, now: Instant) -> u64 {
        let full = u64::from(self.rate) * SECOND;
        if let Some(last) = self.last {
            let passed = now.since(last).as_nanos().min(u128::from(SECOND)) as u64;
            self.saved = full.min(self.saved + passed * u64::from(self.rate));
        }
        self.last = Some(self.last.map_or(now, |last| last.max(now)));
        let tokens = self.saved / SECOND;
        let mut chosen = wanted;
        // The bits above those for which there are tokens.
        while u64::from(chosen.count_ones()) > tokens {
            chosen &= !(1 << (63 - chosen.leading_zeros()));
        }
        self.saved -= u64::from(chosen.count_ones()) * SECOND;
        chosen
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn tokens_return_with_time() {
        let at = |milliseconds| Instant::default().after(Duration::from_millis(milliseconds));
        let mut budget = Budget::new(100);
        assert_eq!(budget.take(0, at(5)), 0);
        assert_eq!(budget.take(u64::MAX, at(5)), u64::MAX);
        assert_eq!(budget.take(u64::MAX, at(5)), u64::MAX >> 28);
        assert_eq!(budget.take(0b1, at(5)), 0);
        assert_eq!(budget.take(0b1, at(14)), 0);
        assert_eq!(budget.take(0b1110, at(15)), 0b10);
        // The clock does not go back.
        assert_eq!(budget.take(0b1, at(0)), 0);
        assert_eq!(budget.take(0b1, at(24)), 0);
        assert_eq!(budget.take(0b1, at(25)), 0b1);
        // At most one second is saved.
        let late = at(1_000_000);
        let taken: u32 = (0..4).map(|_| budget.take(u64::MAX, late).count_ones()).sum();
        assert_eq!(taken, 100);
        assert_eq!(Budget::new(0).take(u64::MAX, late), 0);
        assert_eq!(Budget::new(u32::MAX).take(u64::MAX, late), u64::MAX);
    }
}
