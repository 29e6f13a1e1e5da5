//! Reads the packets of a block of a ring (TPACKET_V3 of `linux/if_packet.h`).
//!
//! A block contains offsets. The kernel wrote them, but they are still checked: for any content,
//! reading ends and stays within the block.

use std::mem::offset_of;

use libc::{sockaddr_ll, tpacket_block_desc, tpacket_hdr_v1, tpacket_hdr_variant1, tpacket3_hdr};
use portsentry_core::Timestamp;

use crate::ChecksumState;
use crate::decode::ether_type::VLAN_ID;

/// Returns the size of a block in bytes, for a ring of `ring` bytes and a latency in
/// milliseconds. The largest block can hold 480 probes of 40 bytes with their headers.
///
/// The kernel starts a new block each time the latency is over, so a ring of small blocks takes
/// longer to fill. It lasts half a second with 8 MiB at any latency, and with 2 MiB at the
/// default one. But small blocks wake the reader more often when many packets arrive.
pub(super) const fn block_size(ring: u64, milliseconds: u32) -> usize {
    let mut size = match milliseconds {
        0 | 1 => SMALLEST,
        2..=4 => 2 * SMALLEST,
        _ => LARGEST,
    };
    while size > SMALLEST && size as u64 * BLOCKS > ring {
        size /= 2;
    }
    size
}

/// Sizes of the smallest and of the largest block, in bytes.
const SMALLEST: usize = 1 << 14;
const LARGEST: usize = 1 << 16;

/// Number of blocks that a ring should have, so that it lasts long enough.
const BLOCKS: u64 = 128;

/// Minimum number of blocks of a ring: 256 KiB in the smallest blocks.
pub(super) const FEWEST_BLOCKS: u32 = 16;

/// Offset of the status of a block, which contains its owner.
pub(super) const STATUS_OFFSET: usize = HEADER + offset_of!(tpacket_hdr_v1, block_status);

/// Offset of the header of a block, after its version.
const HEADER: usize = offset_of!(tpacket_block_desc, hdr);

/// Offset of the address after the header of a packet, with `TPACKET_ALIGN`.
const ADDRESS: usize = size_of::<tpacket3_hdr>().next_multiple_of(16);

/// A packet in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingPacket<'a> {
    /// Captured bytes, from the network header on.
    pub(super) network: &'a [u8],
    /// Length on the wire from there on, in bytes.
    pub(super) length: usize,
    pub(super) time: Timestamp,
    /// EtherType of the network header.
    pub(super) protocol: u16,
    /// Destination at the link layer: this host, another host, broadcast or multicast.
    pub(super) packet_type: u8,
    /// Whether the kernel removed a tag that names a VLAN.
    pub(super) tagged: bool,
    pub(super) checksum: ChecksumState,
}

/// Position of the next packet in a block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    offset: usize,
    left: u32,
}

impl Cursor {
    /// Returns the position of the first packet of `block`.
    pub(super) fn new(block: &[u8]) -> Self {
        let word = |offset| word(block, HEADER + offset).unwrap_or(0);
        Self {
            offset: word(offset_of!(tpacket_hdr_v1, offset_to_first_pkt)) as usize,
            left: word(offset_of!(tpacket_hdr_v1, num_pkts)),
        }
    }

    /// Returns the next packet; `None` at the end, or if the block is invalid.
    pub(super) fn next<'a>(&mut self, block: &'a [u8]) -> Option<RingPacket<'a>> {
        let header = block.get(self.offset..).filter(|_| self.left > 0)?;
        let next = word(header, offset_of!(tpacket3_hdr, tp_next_offset));
        let found = next.zip(packet(header));
        self.left = match found {
            // The last packet has no next one.
            None | Some((0, _)) => 0,
            Some((distance, _)) => {
                self.offset += distance as usize;
                self.left - 1
            }
        };
        found.map(|(_, packet)| packet)
    }
}

/// Returns the packet whose header (`struct tpacket3_hdr`, followed by `struct sockaddr_ll`) is
/// at the start of `bytes`.
fn packet(bytes: &[u8]) -> Option<RingPacket<'_>> {
    let seconds = word(bytes, offset_of!(tpacket3_hdr, tp_sec))?;
    let nanoseconds = word(bytes, offset_of!(tpacket3_hdr, tp_nsec))?;
    let captured = word(bytes, offset_of!(tpacket3_hdr, tp_snaplen))? as usize;
    let length = word(bytes, offset_of!(tpacket3_hdr, tp_len))? as usize;
    let status = word(bytes, offset_of!(tpacket3_hdr, tp_status))?;
    let link = usize::from(half(bytes, offset_of!(tpacket3_hdr, tp_mac))?);
    let network = usize::from(half(bytes, offset_of!(tpacket3_hdr, tp_net))?);
    let variant = offset_of!(tpacket3_hdr, hv1);
    let control = word(bytes, variant + offset_of!(tpacket_hdr_variant1, tp_vlan_tci))?;
    let protocol = half(bytes, ADDRESS + offset_of!(sockaddr_ll, sll_protocol))?;
    let packet_type = *bytes.get(ADDRESS + offset_of!(sockaddr_ll, sll_pkttype))?;

    let link_header = network.checked_sub(link)?;
    let time = i64::from(seconds) * 1_000_000_000 + i64::from(nanoseconds);
    Some(RingPacket {
        network: bytes.get(network..network + captured.saturating_sub(link_header))?,
        length: length.saturating_sub(link_header),
        time: Timestamp::from_nanos(time),
        protocol: u16::from_be(protocol),
        packet_type,
        tagged: status & libc::TP_STATUS_VLAN_VALID != 0 && control & u32::from(VLAN_ID) != 0,
        checksum: if status & libc::TP_STATUS_CSUMNOTREADY != 0 {
            ChecksumState::NotReady
        } else if status & libc::TP_STATUS_CSUM_VALID != 0 {
            ChecksumState::Valid
        } else {
            ChecksumState::Unknown
        },
    })
}

fn word(bytes: &[u8], offset: usize) -> Option<u32> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}

fn half(bytes: &[u8], offset: usize) -> Option<u16> {
    let bytes = bytes.get(offset..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns a block as the kernel writes it, according to the documentation of `packet_mmap`.
    /// Each packet has captured bytes with a link header, and a length.
    fn block(packets: &[(&[u8], u32)]) -> Vec<u8> {
        let mut block = vec![0; LARGEST];
        let mut put = |offset: usize, bytes: &[u8]| {
            block[offset..offset + bytes.len()].copy_from_slice(bytes);
        };
        put(0, &1_u32.to_ne_bytes());
        put(8, &1_u32.to_ne_bytes());
        put(12, &(packets.len() as u32).to_ne_bytes());
        put(16, &48_u32.to_ne_bytes());
        let mut at = 48;
        for (number, (bytes, length)) in packets.iter().enumerate() {
            let size = (82 + bytes.len()).next_multiple_of(8);
            let next = if number + 1 == packets.len() { 0 } else { size as u32 };
            let status = 0x11 | [0, 1 << 3, 1 << 7][number % 3];
            let words = [next, 1_700_000_000, number as u32, bytes.len() as u32, *length, status];
            for (index, word) in words.iter().enumerate() {
                put(at + 4 * index, &word.to_ne_bytes());
            }
            put(at + 24, &82_u16.to_ne_bytes());
            // The tag of the second packet contains only a priority.
            put(at + 32, &[7_u32, 0xe000, 7][number % 3].to_ne_bytes());
            put(at + 26, &96_u16.to_ne_bytes());
            put(at + 48, &17_u16.to_ne_bytes());
            put(at + 50, &0x86dd_u16.to_be_bytes());
            put(at + 58, &[2]);
            put(at + 82, bytes);
            at += size;
        }
        block
    }

    fn read(block: &[u8]) -> Vec<RingPacket<'_>> {
        let mut cursor = Cursor::new(block);
        std::iter::from_fn(|| cursor.next(block)).collect()
    }

    #[test]
    fn packets_are_read_from_their_network_header_on() {
        let frames: [(&[u8], u32); 3] =
            [(&[7; 54], 1014), (&[0; 14], 14), (b"ethernet header, and more", 25)];
        let block = block(&frames);
        let found = read(&block);
        assert_eq!(found.len(), 3);
        for (number, ((bytes, length), packet)) in frames.iter().zip(found).enumerate() {
            let expected = RingPacket {
                network: &bytes[14..],
                length: *length as usize - 14,
                time: Timestamp::from_nanos(1_700_000_000_000_000_000 + number as i64),
                protocol: 0x86dd,
                packet_type: 2,
                tagged: number != 1,
                checksum: [ChecksumState::Unknown, ChecksumState::NotReady, ChecksumState::Valid]
                    [number],
            };
            assert_eq!(packet, expected);
        }
    }

    #[test]
    fn inconsistent_fields_end_the_block() {
        let frames: [(&[u8], u32); 3] = [(&[7; 54], 54), (&[8; 54], 54), (&[9; 54], 54)];
        let check = |offset: usize, bytes: &[u8], expected: usize| {
            let mut block = block(&frames);
            block[offset..offset + bytes.len()].copy_from_slice(bytes);
            assert_eq!(read(&block).len(), expected, "{bytes:?} at {offset}");
        };
        check(0, &[], 3);
        check(12, &2_u32.to_ne_bytes(), 2);
        check(12, &9_u32.to_ne_bytes(), 3);
        check(16, &u32::MAX.to_ne_bytes(), 0);
        // The first packet: offset of the next, captured length, and offsets of its headers.
        check(48, &0_u32.to_ne_bytes(), 1);
        check(48, &u32::MAX.to_ne_bytes(), 1);
        check(48 + 12, &(LARGEST as u32).to_ne_bytes(), 0);
        check(48 + 24, &97_u16.to_ne_bytes(), 0);
        check(48 + 26, &u16::MAX.to_ne_bytes(), 0);
    }

    #[test]
    fn a_ring_lasts_for_half_a_second_at_any_latency() {
        // An interface has several of the smaller rings.
        let rings = [(8 << 20, 1..=10), (4 << 20, 5..=10), (2 << 20, 5..=10)];
        for (ring, latencies) in rings {
            for milliseconds in latencies {
                let size = block_size(ring, milliseconds);
                let blocks = ring / size as u64;
                let lasts = blocks * u64::from(milliseconds);
                assert!(lasts >= 500, "{ring} bytes, {milliseconds} ms, {blocks} blocks");
                assert!(size.is_power_of_two());
            }
        }
    }

    #[test]
    fn an_empty_block_has_no_packets() {
        assert_eq!(read(&[]), []);
        assert_eq!(read(&[0; 48]), []);
        assert_eq!(read(&block(&[])), []);
    }

    proptest! {
        /// With any words in a block, reading ends and stays within the block.
        #[test]
        fn invalid_blocks_end_the_reading(
            words in prop::collection::vec(
                (0_usize..120, prop_oneof![any::<u32>(), 0_u32..300, Just(0x0060_0052)]),
                0..12,
            ),
            size in prop_oneof![Just(LARGEST), 0_usize..400],
        ) {
            let mut block = block(&[(&[1; 60], 60), (&[2; 40], 1500), (&[3; 90], 90)]);
            for (index, word) in words {
                block[4 * index..][..4].copy_from_slice(&word.to_ne_bytes());
            }
            block.truncate(size);
            let mut cursor = Cursor::new(&block);
            let mut read = 0;
            while let Some(packet) = cursor.next(&block) {
                read += 1;
                prop_assert!(packet.network.len() <= block.len());
            }
            prop_assert!(read <= block.len(), "each packet takes at least a byte");
            prop_assert!(cursor.next(&block).is_none());
        }
    }
}
