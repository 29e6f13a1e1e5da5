//! Checksums of IPv4, TCP and UDP.
//!
//! All three are ones' complement sums of 16-bit words (RFC 1071). They are
//! verified only where every byte that they cover was captured: the rest of a
//! segment cannot be wrong as far as anyone can tell.

use etherparse::IpNumber;

use super::link::IpVersion;

/// What is known of the checksum of a TCP segment or UDP datagram beside its
/// bytes.
///
/// The kernel tells it for each packet of an AF_PACKET ring, by
/// `TP_STATUS_CSUM_VALID` and `TP_STATUS_CSUMNOTREADY`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChecksumState {
    /// Nothing: it is verified where the whole segment was captured.
    #[default]
    Unknown,
    /// The interface or the kernel has verified it.
    Valid,
    /// Not computed yet: the packet comes from this machine, and its sender left
    /// the checksum to hardware that it never passes.
    NotReady,
}

/// A sum of 16-bit words, as this machine reads them from memory: the byte order
/// of all of them may be that of the sum (RFC 1071 section 2 B). It is counted
/// modulo 65,535, to which words of 32 bits are the same as their halves.
#[derive(Clone, Copy, Debug)]
struct Sum(u64);

impl Sum {
    /// The sum of `bytes`, with a zero behind them if they are odd in number.
    #[inline]
    fn of(bytes: &[u8]) -> Self {
        // A header without options, most often all there is, without a loop.
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

    /// Both, the first of which had an even number of bytes.
    #[inline]
    const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// Whether this is what a checksum makes of all that it covers: 65,535,
    /// which counts as zero.
    #[inline]
    const fn is_intact(self) -> bool {
        self.0.is_multiple_of(0xffff)
    }

    /// The sum in 16 bits, in network byte order.
    const fn folded(self) -> u16 {
        let mut sum = (self.0 >> 32) + (self.0 & 0xffff_ffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        sum = (sum >> 16) + (sum & 0xffff);
        u16::from_be(sum as u16)
    }
}

/// Source and target of a packet, as far as its checksum covers them.
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

    /// The sum of the pseudo-header in front of a segment of `length` bytes
    /// (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1).
    #[inline]
    fn pseudo_header(self, protocol: IpNumber, length: usize) -> Sum {
        // Of what is longer no stack takes the checksum.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.sum.plus(Sum(u32::from(protocol.0).to_be().into())).plus(Sum(length.to_be().into()))
    }
}

/// Whether an IPv4 header has the right checksum (RFC 1122 section 3.2.1.2).
#[inline]
pub(super) fn is_header_intact(header: &[u8]) -> bool {
    Sum::of(header).is_intact()
}

/// Whether a segment has the right checksum; `field` is what it has.
///
/// Or one that was not finished: Linux puts the sum of the pseudo-header into
/// the field and leaves the rest to the hardware (`CHECKSUM_PARTIAL`). So
/// packets look that never leave a machine, as between containers, and those
/// that were captured where they were sent. The sum tells them from damage but
/// for one case in 65,536.
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

    /// The definition of RFC 1071 section 1: 16 bits at a time, carries added
    /// at once.
    fn by_definition(bytes: &[u8]) -> u16 {
        bytes.chunks(2).fold(0, |sum: u16, pair| {
            let word = u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]);
            let (sum, carry) = sum.overflowing_add(word);
            sum + u16::from(carry)
        })
    }

    #[test]
    fn the_example_of_rfc_1071() {
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(Sum::of(&bytes).folded(), 0xddf2);
        assert_eq!(Sum::of(&[]).folded(), 0);
        assert_eq!(Sum::of(&[0xff; 6]).folded(), 0xffff);
    }

    proptest! {
        #[test]
        fn sums_are_those_of_the_definition(
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
