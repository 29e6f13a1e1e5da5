//! Counters of rejected packets by kind.

use std::fmt;

use super::Rejected;

/// Number of packets that yielded no observation, by reason.
///
/// Counting costs one addition. `Display` writes a summary such as
/// `3 not IP, 1 fragment`, or `none`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: [u64; Rejected::ALL.len()],
}

impl Tally {
    /// Counts one packet.
    pub fn add(&mut self, kind: Rejected) {
        if let Some(count) = self.counts.get_mut(kind as usize) {
            *count += 1;
        }
    }

    /// Adds the counters of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// Returns the number of packets of this kind.
    #[must_use]
    pub fn count(&self, kind: Rejected) -> u64 {
        self.counts.get(kind as usize).copied().unwrap_or(0)
    }

    /// Returns all kinds with their counts, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (Rejected, u64)> + '_ {
        Rejected::ALL.iter().copied().zip(self.counts)
    }

    /// Returns the number of packets of all kinds.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Returns the number of malformed packets ([`Rejected::is_malformed`]).
    #[must_use]
    pub fn malformed(&self) -> u64 {
        self.iter().filter(|(kind, _)| kind.is_malformed()).map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for (kind, count) in self.iter().filter(|&(_, count)| count > 0) {
            write!(f, "{separator}{count} {kind}")?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("none") } else { Ok(()) }
    }
}

/// Serializes as a map from name to count, without zeros.
#[cfg(feature = "serde")]
impl serde::Serialize for Tally {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let seen = self.iter().filter(|&(_, count)| count > 0);
        serializer.collect_map(seen.map(|(kind, count)| (kind.name(), count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_index_the_list_of_all() {
        for (index, kind) in Rejected::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index);
        }
    }

    #[test]
    fn packets_are_counted_by_kind() {
        let mut tally = Tally::default();
        assert_eq!(tally.to_string(), "none");
        for kind in [Rejected::Fragment, Rejected::NotIp, Rejected::UdpLength, Rejected::NotIp] {
            tally.add(kind);
        }
        assert_eq!(tally.count(Rejected::NotIp), 2);
        assert_eq!(tally.count(Rejected::Truncated), 0);
        assert_eq!((tally.total(), tally.malformed()), (4, 1));
        assert_eq!(tally.to_string(), "2 not IP, 1 fragment, 1 impossible UDP length");

        let mut sum = tally.clone();
        sum.merge(&tally);
        assert_eq!(sum.to_string(), "4 not IP, 2 fragment, 2 impossible UDP length");
    }
}
