//! Checksums of IPv4, TCP and UDP.
//!
//! All three are ones' complement sums of 16-bit words (RFC 1071). A checksum is verified only if
//! every byte that it covers was captured.

use etherparse::IpNumber;

use super::link::IpVersion;

/// State of the checksum of a TCP segment or UDP datagram.
///
/// The kernel reports it for each packet of an AF_PACKET ring, with the flags
/// `TP_STATUS_CSUM_VALID` and `TP_STATUS_CSUMNOTREADY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChecksumState {
    /// The state is unknown. The decoder verifies the checksum if the whole segment was captured.
    #[default]
    Unknown,
    /// The interface or the kernel has verified it.
    Valid,
    /// The checksum is not computed: the sender is on this machine and left it to hardware that
    /// the packet never reaches.
    NotReady,
}

/// A sum of 16-bit words in the byte order of this machine (RFC 1071 section 2 B). Modulo 65,535,
/// 32 bits equal the sum of their halves, so 32 bits are added at a time.
#[derive(Clone, Copy, Debug)]
struct Sum(u64);

impl Sum {
    /// Returns the sum of `bytes`, padded with a zero if their number is odd.
    #[inline]
    fn of(bytes: &[u8]) -> Self {
        // Most often this is a header without options, which needs no loop.
        match bytes.split_first_chunk::<20>() {
            Some((header, [])) => Self::of_words(header.as_chunks().0),
            Some((header, rest)) => Self::of_words(header.as_chunks().0).plus(Self::of_any(rest)),
            None => Self::of_any(bytes),
        }
    }

    fn of_any(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks();
        let mut last = [0; 4];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Self::of_words(words).plus(Self::of_words(&[last]))
    }

    #[inline]
    fn of_words(words: &[[u8; 4]]) -> Self {
        Self(words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum())
    }

    /// Returns the sum of both. The first must cover an even number of bytes.
    #[inline]
    const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Returns whether this is the sum of data with a correct checksum: a multiple of 65,535.
    #[inline]
    const fn is_intact(self) -> bool {
        self.0.is_multiple_of(0xffff)
    }

    /// Returns the sum in 16 bits, as a number read in network byte order.
    const fn folded(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        u16::from_be(sum as u16)
    }
}

/// IP version of a packet, and the sum of its source and target for checksums.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) version: IpVersion,
    sum: Sum,
}

impl Addresses {
    #[inline]
    pub(super) fn v4(source: [u8; 4], target: [u8; 4]) -> Self {
        Self { version: IpVersion::V4, sum: Sum::of_words(&[source, target]) }
    }

    #[inline]
    pub(super) fn v6(source: [u8; 16], target: [u8; 16]) -> Self {
        let [source, target] = [source, target].map(|it| Sum::of_words(it.as_chunks().0));
        Self { version: IpVersion::V6, sum: source.plus(target) }
    }

    /// Returns the sum of the pseudo-header of a segment of `length` bytes (RFC 9293 section 3.1,
    /// RFC 768, RFC 8200 section 8.1).
    #[inline]
    fn pseudo_header(self, protocol: IpNumber, length: usize) -> Sum {
        // No stack accepts the checksum of a longer segment.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.sum.plus(Sum(u32::from(protocol.0).to_be().into())).plus(Sum(length.to_be().into()))
    }
}

/// Returns whether an IPv4 header has a correct checksum (RFC 1122 section 3.2.1.2).
#[inline]
pub(super) fn is_header_intact(header: &[u8]) -> bool {
    Sum::of(header).is_intact()
}

/// Returns whether a segment has a correct or an unfinished checksum; `field` is the value in
/// its header.
///
/// Linux writes the sum of the pseudo-header into the field and leaves the rest to the hardware
/// (`CHECKSUM_PARTIAL`). Packets that never leave the machine, for example between containers,
/// have such a field, and also packets captured at their sender. One damaged packet in 65,536
/// looks the same and is accepted.
#[inline]
pub(super) fn is_segment_intact(
    addresses: Addresses,
    protocol: IpNumber,
    segment: &[u8],
    field: u16,
) -> bool {
    let pseudo_header = addresses.pseudo_header(protocol, segment.len());
    pseudo_header.plus(Sum::of(segment)).is_intact() || field == pseudo_header.folded()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Computes the sum as defined in RFC 1071 section 1: 16 bits at a time, with carries added
    /// immediately.
    fn by_definition(bytes: &[u8]) -> u16 {
        bytes.chunks(2).fold(0, |sum: u16, pair| {
            let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
            let (sum, carry) = sum.overflowing_add(word);
            sum + u16::from(carry)
        })
    }

    #[test]
    fn the_example_of_rfc_1071_is_correct() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).folded(), 0xddf2);
        assert_eq!(Sum::of(&[]).folded(), 0);
        assert_eq!(Sum::of(&[0xff; 6]).folded(), 0xffff);
    }

    proptest! {
        #[test]
        fn sums_agree_with_the_definition(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            cut in 0..100usize,
        ) {
            prop_assert_eq!(Sum::of(&bytes).folded(), by_definition(&bytes));
            let (front, back) = bytes.split_at((2 * cut).min(bytes.len()));
            let both = Sum::of(front).plus(Sum::of(back));
            prop_assert_eq!(both.folded(), by_definition(&bytes));
            prop_assert_eq!(both.is_intact(), matches!(by_definition(&bytes), 0 | 0xffff));
        }
    }
}
