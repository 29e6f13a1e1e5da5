//! What the kernel is asked to hold back.
//!
//! The filter keeps the traffic of open connections away from the reader, and
//! loses nothing that could be a probe: where a probe cannot be told from the
//! first bytes (tags, extension headers, fragments) the packet passes and is
//! judged by the decoder. It does not depend on ports or addresses, so it has
//! the same few dozen instructions whatever is configured.

/// Packets that may be a probe, in the language of `pcap-filter(7)`.
///
/// - VLAN tags that the kernel left in the frame: it takes off the outer tag of
///   802.1Q and 802.1ad before filters run, but not the inner one.
/// - IPv4: UDP, authentication headers, and TCP that is a fragment or has
///   neither ACK nor RST. Fragments go first: `nmap -f` sends eight bytes of
///   TCP at a time, and a filter that reads beyond the end of a packet drops it.
/// - IPv6: the same, and every extension header of RFC 8200, RFC 4302,
///   RFC 6275, RFC 7401 and RFC 5533 but ESP, which hides its ports.
///
/// Only what stands in the bytes of a packet may be asked. libpcap runs the
/// filter a second time on what the ring held when it was set, and there
/// `inbound` is false for every packet, so the first burst would be lost.
pub(super) const CANDIDATES: &str = "\
    ether proto 0x8100 or ether proto 0x88a8 or ether proto 0x9100 \
    or (ip and (ip[9] = 17 or ip[9] = 51 \
        or (ip[9] = 6 and (ip[6:2] & 0x3fff != 0 or tcp[13] & 0x14 = 0)))) \
    or (ip6 and (ip6[6] = 17 or (ip6[6] = 6 and ip6[53] & 0x14 = 0) \
        or ip6[6] = 0 or ip6[6] = 43 or ip6[6] = 44 or ip6[6] = 51 or ip6[6] = 60 \
        or ip6[6] = 135 or ip6[6] = 139 or ip6[6] = 140))";

#[cfg(test)]
mod tests {
    use ::pcap::{BpfProgram, Capture, Linktype};
    use portsentry_core::Instant;

    use super::*;
    use crate::{ChecksumState, Decoder, Frame, LinkType};

    const TCP: u8 = 6;
    const UDP: u8 = 17;
    const SYN: u8 = 0x02;

    fn compile(dlt: i32) -> BpfProgram {
        Capture::dead(Linktype(dlt)).unwrap().compile(CANDIDATES, true).unwrap()
    }

    /// A TCP header with `flags`, or as much of a UDP header as fits.
    fn transport(protocol: u8, flags: u8) -> Vec<u8> {
        let mut bytes =
            vec![0x30, 0x39, 0, 23, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 4, 0, 0, 0, 0, 0];
        if protocol == UDP {
            bytes.truncate(8);
            bytes[4..6].copy_from_slice(&8_u16.to_be_bytes());
        }
        bytes
    }

    fn v4(protocol: u8, fragment: u16, payload: &[u8]) -> Vec<u8> {
        let mut header = vec![0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0];
        header.extend([10, 0, 0, 1, 10, 0, 0, 2]);
        header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
        header[6..8].copy_from_slice(&fragment.to_be_bytes());
        let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum: u32 = words.sum();
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header.extend(payload);
        header
    }

    fn v6(next: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = vec![0x60, 0, 0, 0, 0, 0, next, 64];
        header[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        header.extend([0xfd; 16]);
        header.extend([0xfc; 16]);
        header.extend(payload);
        header
    }

    /// Extension header `kind` of eight bytes in front of a SYN.
    fn extended(kind: u8) -> Vec<u8> {
        // A length field of 1 is 12 bytes to an authentication header only.
        let words = if kind == 51 { 1 } else { 0 };
        let mut payload = vec![TCP, words, 0, 0, 0, 0, 0, 0];
        payload.resize(if kind == 51 { 12 } else { 8 }, 0);
        payload.extend(transport(TCP, SYN));
        v6(kind, &payload)
    }

    fn ethernet(tags: &[u16], datagram: &[u8]) -> Vec<u8> {
        let mut frame = vec![2; 12];
        for tag in tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 7]);
        }
        frame.extend(if datagram[0] >> 4 == 4 { [8, 0] } else { [0x86, 0xdd] });
        frame.extend(datagram);
        frame
    }

    /// Name, IP packet, and whether it is let through.
    fn table() -> Vec<(&'static str, Vec<u8>, bool)> {
        let tcp = |flags| transport(TCP, flags);
        vec![
            ("v4 SYN", v4(TCP, 0, &tcp(SYN)), true),
            ("v4 NULL", v4(TCP, 0, &tcp(0)), true),
            ("v4 XMAS", v4(TCP, 0, &tcp(0x29)), true),
            ("v4 SYN with ECN", v4(TCP, 0, &tcp(0xc2)), true),
            ("v4 SYN, don't fragment", v4(TCP, 0x4000, &tcp(SYN)), true),
            ("v4 SYN-ACK", v4(TCP, 0, &tcp(0x12)), false),
            ("v4 ACK", v4(TCP, 0, &tcp(0x10)), false),
            ("v4 RST", v4(TCP, 0, &tcp(0x04)), false),
            ("v4 first fragment of 8 bytes", v4(TCP, 0x2000, &tcp(SYN)[..8]), true),
            ("v4 later fragment", v4(TCP, 0x0001, &tcp(SYN)[8..]), true),
            ("v4 UDP", v4(UDP, 0, &transport(UDP, 0)), true),
            ("v4 UDP fragment", v4(UDP, 0x2005, &[0; 8]), true),
            ("v4 ICMP", v4(1, 0, &[8; 16]), false),
            ("v4 ESP", v4(50, 0, &[8; 16]), false),
            ("v4 AH", v4(51, 0, &[8; 32]), true),
            ("v6 SYN", v6(TCP, &tcp(SYN)), true),
            ("v6 FIN", v6(TCP, &tcp(0x01)), true),
            ("v6 ACK", v6(TCP, &tcp(0x10)), false),
            ("v6 RST", v6(TCP, &tcp(0x14)), false),
            ("v6 UDP", v6(UDP, &transport(UDP, 0)), true),
            ("v6 ICMP", v6(58, &[0; 8]), false),
            ("v6 ESP", v6(50, &[0; 16]), false),
            ("v6 hop-by-hop", extended(0), true),
            ("v6 routing", extended(43), true),
            ("v6 fragment", extended(44), true),
            ("v6 authentication", extended(51), true),
            ("v6 destination", extended(60), true),
        ]
    }

    fn link_header(dlt: i32, datagram: &[u8]) -> Vec<u8> {
        let v4 = datagram[0] >> 4 == 4;
        let ether_type = if v4 { [8, 0] } else { [0x86, 0xdd] };
        match dlt {
            1 => ethernet(&[], datagram)[..14].to_vec(),
            12 => Vec::new(),
            113 => [&[0; 14][..], &ether_type].concat(),
            276 => [&ether_type[..], &[0; 18]].concat(),
            _ => unreachable!(),
        }
    }

    #[test]
    fn candidates_pass_and_the_rest_is_held_back() {
        for dlt in [1, 12, 113, 276] {
            let program = compile(dlt);
            for (name, datagram, expected) in table() {
                let frame = [link_header(dlt, &datagram), datagram].concat();
                assert_eq!(program.filter(&frame), expected, "{name}, link type {dlt}");
            }
        }
    }

    /// The decoder is the judge of what a probe is: whatever it sees in the
    /// frames of the table, the filter has let through.
    #[test]
    fn no_opener_is_held_back() {
        let mut openers = 0;
        for dlt in [1, 12, 113, 276] {
            let (program, link) = (compile(dlt), LinkType::from_dlt(dlt).unwrap());
            for (name, datagram, _) in table() {
                let frame = [link_header(dlt, &datagram), datagram].concat();
                // The segments have no checksums.
                let checksum = ChecksumState::NotReady;
                let frame = Frame { link, captured: &frame, wire_length: frame.len(), checksum };
                let decoded = Decoder::new().decode(&frame, Instant::default(), |_, _| Ok(()));
                let Ok(packet) = decoded else { continue };
                if packet.observation(Default::default(), 0).is_opener() {
                    openers += 1;
                    assert!(program.filter(frame.captured), "{name}, link type {dlt}");
                }
            }
        }
        assert!(openers >= 4 * 12, "the table has few openers: {openers}");
    }

    #[test]
    fn tagged_frames_pass() {
        let program = compile(1);
        let syn = v4(TCP, 0, &transport(TCP, SYN));
        for tags in [&[0x8100][..], &[0x88a8], &[0x9100], &[0x88a8, 0x8100]] {
            assert!(program.filter(&ethernet(tags, &syn)), "{tags:04x?}");
        }
        let mut arp = ethernet(&[], &syn);
        arp[12..14].copy_from_slice(&[8, 6]);
        assert!(!program.filter(&arp));
    }

    #[test]
    fn the_program_is_small() {
        for dlt in [1, 12, 113, 276] {
            let instructions = compile(dlt).get_instructions().len();
            assert!(instructions <= 64, "{instructions} instructions for link type {dlt}");
        }
    }
}
