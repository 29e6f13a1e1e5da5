//! A set of ports.
//!
//! The packet path searches it once per packet. It is therefore a map of 65,536 bits (8 KiB):
//! a lookup is one load and one shift for any set. [`config`](crate::config) defines the
//! syntax of a list of ports in a file.

use alloc::boxed::Box;
use core::fmt;
use core::ops::RangeInclusive;

const WORDS: usize = 65_536 / 64;
const END: u32 = 65_536;

/// A set of ports, 1 to 65535.
///
/// Port 0 is reserved (RFC 6335 section 6) and never a member: inserting it has no effect.
/// `Display` writes ascending ranges in the syntax of a configuration file: `1,7,10-20`.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet {
    words: Box<[u64; WORDS]>,
}

impl PortSet {
    /// Creates an empty set.
    pub fn new() -> Self {
        Self { words: Box::new([0; WORDS]) }
    }

    /// Creates a set of all ports.
    pub fn all() -> Self {
        let mut all = Self::new();
        all.insert_range(1..=u16::MAX);
        all
    }

    /// Returns whether `port` is in the set. Constant time, without a branch.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        // The index is below `WORDS` for every `port`, so the compiler omits the check.
        self.words.get(usize::from(port >> 6)).is_some_and(|word| (word >> (port & 63)) & 1 != 0)
    }

    /// Adds `port`.
    pub fn insert(&mut self, port: u16) {
        self.insert_range(port..=port);
    }

    /// Adds all ports of the range `ports`, 64 at a time. Does nothing if the range runs
    /// backwards.
    pub fn insert_range(&mut self, ports: RangeInclusive<u16>) {
        let (first, last) = ((*ports.start()).max(1), *ports.end());
        if first > last {
            return;
        }
        let (low, high) = (usize::from(first >> 6), usize::from(last >> 6));
        for (index, word) in self.words.iter_mut().enumerate().take(high + 1).skip(low) {
            let mut mask = u64::MAX;
            if index == low {
                mask &= u64::MAX << (first & 63);
            }
            if index == high {
                mask &= u64::MAX >> (63 - (last & 63));
            }
            *word |= mask;
        }
    }

    /// Returns the number of ports. Reads the whole map, in about a microsecond.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Returns whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Returns the ports in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.ranges().flatten()
    }

    /// Returns the ports that are not in `other`, in ascending order.
    pub(crate) fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = u16> + 'a {
        let words = self.words.iter().zip(other.words.iter()).enumerate();
        words.flat_map(|(index, (word, other))| {
            let bits = core::iter::successors(Some(word & !other), |bits| {
                Some(bits & bits.wrapping_sub(1))
            });
            bits.take_while(|bits| *bits != 0)
                .map(move |bits| (index as u16) << 6 | bits.trailing_zeros() as u16)
        })
    }

    /// Returns the shortest list of ranges that covers the set, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = RangeInclusive<u16>> {
        let mut from = 0;
        core::iter::from_fn(move || {
            let first = self.find(from, true);
            from = self.find(first, false);
            Some(u16::try_from(first).ok()?..=u16::try_from(from - 1).ok()?)
        })
    }

    /// Returns the first port from `from` on that is a member (or is not); `END` if there
    /// is none.
    fn find(&self, from: u32, member: bool) -> u32 {
        let flip = if member { 0 } else { u64::MAX };
        let mut mask = u64::MAX << (from % 64);
        for (word, base) in self.words.iter().zip((0..END).step_by(64)).skip(from as usize / 64) {
            let bits = (word ^ flip) & mask;
            if bits != 0 {
                return base + bits.trailing_zeros();
            }
            mask = u64::MAX;
        }
        END
    }
}

impl Default for PortSet {
    fn default() -> Self {
        Self::new()
    }
}

impl Extend<u16> for PortSet {
    fn extend<I: IntoIterator<Item = u16>>(&mut self, ports: I) {
        ports.into_iter().for_each(|port| self.insert(port));
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        let mut set = Self::new();
        set.extend(ports);
        set
    }
}

impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for range in self.ranges() {
            let (first, last) = (range.start(), range.end());
            write!(f, "{separator}{first}")?;
            if first != last {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PortSet({self})")
    }
}

/// Writes the text of the set, such as `1,7,10-20`.
#[cfg(feature = "serde")]
impl serde::Serialize for PortSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Reads the text of a set. An empty text is an empty set.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for PortSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = alloc::string::String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::new());
        }
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::string::ToString;
    use std::vec::Vec;

    #[test]
    fn display_writes_the_syntax_of_a_file() {
        let check = |ports: &[u16], expected: &str| {
            assert_eq!(ports.iter().copied().collect::<PortSet>().to_string(), expected);
        };
        check(&[], "");
        check(&[7], "7");
        check(&[20, 10, 11, 7, 1, 12], "1,7,10-12,20");
        check(&[63, 64, 65], "63-65");
        check(&[65_534, 65_535], "65534-65535");
        check(&[1, 65_535], "1,65535");
    }

    #[test]
    fn port_zero_is_never_a_member() {
        let mut set = PortSet::new();
        set.insert(0);
        assert!(set.is_empty());
        set.insert_range(0..=65_535);
        assert!(!set.contains(0));
        assert_eq!(set.len(), 65_535);
        assert_eq!(set.to_string(), "1-65535");
    }

    #[test]
    fn a_backward_range_adds_nothing() {
        let mut set = PortSet::new();
        #[expect(clippy::reversed_empty_ranges, reason = "the test needs such a range")]
        set.insert_range(20..=10);
        assert!(set.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn agrees_with_a_set_of_numbers(
            ranges in prop::collection::vec((any::<u16>(), 0_u16..200), 0..20),
            ports in prop::collection::vec(any::<u16>(), 0..50),
        ) {
            let mut set = PortSet::new();
            let mut model = BTreeSet::new();
            for (first, more) in ranges {
                let last = first.saturating_add(more);
                set.insert_range(first..=last);
                model.extend(first..=last);
            }
            set.extend(ports.iter().copied());
            model.extend(ports);
            model.remove(&0);

            prop_assert!((0..=u16::MAX).all(|port| set.contains(port) == model.contains(&port)));
            prop_assert_eq!(set.len(), model.len());
            prop_assert_eq!(set.is_empty(), model.is_empty());
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            // The list is the shortest: the port after each range is missing.
            for range in set.ranges() {
                prop_assert!(!set.contains(range.start() - 1));
                prop_assert!(*range.end() == u16::MAX || !set.contains(range.end() + 1));
            }
        }
    }
}
