//! Sets of numbers as ranges.

/// A set of numbers: ports, addresses, or other fields of a packet.
///
/// The ranges are ascending, and at least one number is missing between two of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ranges(Vec<(u128, u128)>);

impl Ranges {
    pub(super) const EMPTY: Self = Self(Vec::new());

    /// Returns the numbers from `first` to `last`; none if `first` is greater.
    pub(super) fn of(first: u128, last: u128) -> Self {
        if first > last { Self::EMPTY } else { Self(vec![(first, last)]) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of ranges.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u128, u128)> {
        self.0.iter().copied()
    }

    pub(super) fn contains(&self, number: u128) -> bool {
        self.0.iter().any(|(first, last)| (*first..=*last).contains(&number))
    }

    /// Returns the numbers that are in both sets.
    pub(super) fn and(&self, other: &Self) -> Self {
        let (mut ours, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut both = Vec::new();
        while let (Some((a, b)), Some((c, d))) = (ours.peek(), theirs.peek()) {
            let (first, last) = (*a.max(c), *b.min(d));
            if first <= last {
                both.push((first, last));
            }
            if b < d {
                ours.next()
            } else {
                theirs.next()
            };
        }
        Self(both)
    }

    /// Returns the numbers up to `max` that are not in the set.
    pub(super) fn complement(&self, max: u128) -> Self {
        let mut others = Vec::new();
        let mut next = Some(0);
        for (first, last) in self.iter() {
            if let (Some(next), Some(before)) = (next, first.checked_sub(1))
                && next <= before.min(max)
            {
                others.push((next, before.min(max)));
            }
            next = last.checked_add(1);
        }
        others.extend(next.filter(|next| *next <= max).map(|next| (next, max)));
        Self(others)
    }

    /// Returns whether `other` contains every number of this set.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.and(other) == *self
    }
}

impl FromIterator<(u128, u128)> for Ranges {
    fn from_iter<I: IntoIterator<Item = (u128, u128)>>(ranges: I) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|(first, last)| first <= last).collect();
        ranges.sort_unstable();
        ranges.dedup_by(|(first, last), (_, end)| {
            let joined = *first <= end.saturating_add(1);
            if joined {
                *end = (*end).max(*last);
            }
            joined
        });
        Self(ranges)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: u128 = 63;

    fn ranges() -> impl Strategy<Value = (Ranges, u64)> {
        prop::collection::vec((0..=MAX, 0..=MAX), 0..6).prop_map(|ranges| {
            let bits = ranges.iter().flat_map(|(first, last)| *first..=*last);
            let bits = bits.fold(0, |bits, number| bits | 1 << number);
            (ranges.into_iter().collect(), bits)
        })
    }

    /// Returns the members, after it has checked the order and the gaps.
    fn bits(ranges: &Ranges) -> u64 {
        assert!(ranges.0.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{ranges:?}");
        (0..=MAX).filter(|number| ranges.contains(*number)).fold(0, |bits, it| bits | 1 << it)
    }

    proptest! {
        #[test]
        fn agrees_with_a_set_of_bits((a, a_bits) in ranges(), (b, b_bits) in ranges()) {
            prop_assert_eq!(bits(&a), a_bits);
            prop_assert_eq!(bits(&a.and(&b)), a_bits & b_bits);
            prop_assert_eq!(bits(&a.complement(MAX)), !a_bits);
            prop_assert_eq!(a.is_within(&b), a_bits & !b_bits == 0);
            prop_assert_eq!(a.is_empty(), a_bits == 0);
        }
    }

    #[test]
    fn the_largest_number_does_not_overflow() {
        let last = Ranges::of(u128::MAX, u128::MAX);
        assert_eq!(last.complement(u128::MAX), Ranges::of(0, u128::MAX - 1));
        assert_eq!(Ranges::of(0, u128::MAX).complement(u128::MAX), Ranges::EMPTY);
        assert_eq!(Ranges::EMPTY.complement(u128::MAX), Ranges::of(0, u128::MAX));
        let both: Ranges = [(1, u128::MAX), (u128::MAX, u128::MAX)].into_iter().collect();
        assert_eq!(both, Ranges::of(1, u128::MAX));
    }
}
