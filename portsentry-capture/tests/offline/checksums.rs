//! Packets with wrong checksums, and with checksums that cannot be verified.

use portsentry_capture::ChecksumState::{NotReady, Unknown, Valid};
use portsentry_capture::{ChecksumState, Decoder, Frame, LinkType, Packet, Rejected, decode};
use portsentry_core::Instant;

use crate::frames::*;

fn read(packet: &[u8], captured: usize, checksum: ChecksumState) -> Result<Packet, Rejected> {
    let frame = Frame::new(LinkType::RawIp, &packet[..captured])
        .with_wire_length(packet.len())
        .with_checksum(checksum);
    Decoder::new().decode(&frame, Instant::from_secs(1), |_, _| Ok(()))
}

/// Returns a packet of each kind, with the offset of its segment.
fn packets() -> [(&'static str, Vec<u8>, usize); 8] {
    let payload = b"an odd number of bytes.";
    let chain = |next, rest: &[u8]| extension(DESTINATION, 1, &extension(next, 0, rest));
    [
        ("SYN", ipv4(TCP, &tcp(2)), 20),
        ("SYN with options", ipv4_with_options(3, TCP, &tcp_with_options(5)), 32),
        ("SYN with payload", ipv4(TCP, &[&tcp(2), &payload[..]].concat()), 20),
        ("UDP", ipv4(UDP, &udp(payload)), 20),
        ("AH", ipv4(AUTHENTICATION, &authentication(TCP, 4, &tcp(2))), 44),
        ("IPv6 SYN", ipv6(TCP, &tcp(2)), 40),
        ("IPv6 UDP", ipv6(UDP, &udp(payload)), 40),
        ("IPv6 UDP after options", ipv6(DESTINATION, &chain(UDP, &udp(payload))), 64),
    ]
}

/// A packet with one wrong bit is rejected, unless no checksum covers the bit.
#[test]
fn every_single_bit_error_is_rejected() {
    for (what, packet, segment) in packets() {
        assert!(read(&packet, packet.len(), Unknown).is_ok(), "{what}");
        let uncovered = if packet[0] >> 4 == 4 {
            // Only the recipient can verify the authentication data.
            if segment > 40 { 22..44 } else { 0..0 }
        } else {
            // Traffic class and flow label; hop limit and options are below.
            0..4
        };
        for at in (0..packet.len()).filter(|at| !uncovered.contains(at)) {
            if packet[0] >> 4 == 6 && (at == 7 || (42..segment).contains(&at)) {
                continue;
            }
            for bit in 0..8 {
                let damaged = with(&packet, at, &[packet[at] ^ 1 << bit]);
                let result = read(&damaged, damaged.len(), Unknown);
                assert!(result.is_err(), "{what}: bit {bit} of byte {at}");
                if at >= segment + 16 && bit == 0 {
                    let is_tcp = damaged[segment + 12] >> 4 >= 5 && what.contains("SYN");
                    let kind = if is_tcp || what == "AH" {
                        Rejected::TcpChecksum
                    } else {
                        Rejected::UdpChecksum
                    };
                    assert_eq!(result, Err(kind), "{what}: byte {at}");
                }
            }
        }
    }
}

/// Each row is a packet, the state of its checksum and the result of decoding.
#[test]
fn checksum_state_decides_on_verification() {
    let field = |packet: &[u8], segment: usize, value: u16| {
        let is_udp = packet[segment - 20 + 9] == UDP || packet[6] == UDP;
        with(packet, segment + if is_udp { 6 } else { 16 }, &value.to_be_bytes())
    };
    let v4 = ipv4(UDP, &udp(b"query"));
    let v6 = ipv6(UDP, &udp(b"query"));
    let tcp4 = ipv4(TCP, &tcp(2));
    let tcp6 = ipv6(TCP, &tcp(2));
    // Linux leaves this sum for the hardware to complete: `~csum_tcpudp_magic()`.
    let unfinished = |packet: &[u8], protocol, segment: usize| {
        let length = packet.len() - segment;
        field(packet, segment, ones_sum(&[&pseudo_header(packet, protocol, length)]))
    };
    let short = sealed(with(&ipv4(UDP, &udp(b"query and more")), 24, &[0, 13]));
    let table = [
        ("UDP without checksum", field(&v4, 20, 0), Unknown, Ok(())),
        ("UDP without checksum over IPv6", field(&v6, 40, 0), Unknown, Err(Rejected::UdpChecksum)),
        ("declared valid", field(&v6, 40, 0), Valid, Err(Rejected::UdpChecksum)),
        ("not written yet", field(&v6, 40, 0), NotReady, Ok(())),
        ("TCP without checksum", field(&tcp4, 20, 0), Unknown, Err(Rejected::TcpChecksum)),
        ("TCP, declared valid", field(&tcp4, 20, 0), Valid, Ok(())),
        ("TCP, not written yet", field(&tcp4, 20, 0), NotReady, Ok(())),
        ("UDP, declared valid", field(&v4, 20, 7), Valid, Ok(())),
        ("UDP, wrong", field(&v4, 20, 7), Unknown, Err(Rejected::UdpChecksum)),
        ("unfinished TCP", unfinished(&tcp4, TCP, 20), Unknown, Ok(())),
        ("unfinished UDP", unfinished(&v4, UDP, 20), Unknown, Ok(())),
        ("unfinished TCP over IPv6", unfinished(&tcp6, TCP, 40), Unknown, Ok(())),
        ("unfinished UDP over IPv6", unfinished(&v6, UDP, 40), Unknown, Ok(())),
        ("unfinished, of another protocol", unfinished(&tcp4, UDP, 20), Unknown, {
            Err(Rejected::TcpChecksum)
        }),
        ("UDP shorter than its packet", short.clone(), Unknown, Ok(())),
        ("bytes after the datagram do not count", with(&short, 40, b"?"), Unknown, Ok(())),
        ("IPv4 header", with(&v4, 10, &[0, 0]), Unknown, Err(Rejected::IpChecksum)),
        ("IPv4 header, declared valid", with(&v4, 10, &[0, 0]), Valid, {
            Err(Rejected::IpChecksum)
        }),
    ];
    for (what, packet, checksum, expected) in table {
        assert_eq!(read(&packet, packet.len(), checksum).map(|_| ()), expected, "{what}");
    }
}

/// The checksum of a packet that was not captured completely cannot be verified.
#[test]
fn cut_packets_are_not_verified() {
    for (what, packet, segment) in packets() {
        let damaged = with(&packet, packet.len() - 1, &[packet[packet.len() - 1] ^ 1]);
        let header = if what.contains("UDP") { 8 } else { 20 };
        for captured in segment + header..=packet.len() {
            let whole = captured == packet.len();
            assert_eq!(read(&damaged, captured, Unknown).is_err(), whole, "{what}: {captured}");
        }
    }
}

/// The IP header of a jumbogram does not contain the length of the packet.
#[test]
fn a_jumbogram_ends_with_its_frame() {
    let payload = [&tcp(2), &[b'x'; 100][..]].concat();
    let packet = with(&ipv6(HOP_BY_HOP, &extension(TCP, 0, &payload)), 4, &[0, 0]);
    for captured in 40 + 8 + 20..=packet.len() {
        let seen = read(&packet, captured, Unknown);
        assert_eq!(seen.map(|it| it.wire_length), Ok(packet.len()), "{captured} captured");
        assert!(decode(LinkType::RawIp, &packet[..captured]).is_ok(), "{captured} alone");
    }
    let damaged = with(&packet, packet.len() - 1, b"?");
    assert_eq!(read(&damaged, damaged.len(), Unknown), Err(Rejected::TcpChecksum));
}

/// The checksum of a fragmented datagram is verified after reassembly, unless a fragment
/// needs no verification.
#[test]
fn a_reassembled_datagram_is_verified() {
    use crate::fragments::DOCUMENTATION;
    use crate::fragments::Version::{V4, V6};

    for version in [V4, V6] {
        let [first, last] =
            [0, 1].map(|at| DOCUMENTATION.fragments(version, 7, 53, "0-16 16-96!").remove(at));
        for (states, intact) in
            [([Unknown, Unknown], false), ([Valid, Unknown], true), ([Unknown, NotReady], true)]
        {
            let mut decoder = Decoder::new();
            let results = [(&first, states[0]), (&last, states[1])].map(|(packet, checksum)| {
                let frame = Frame::new(LinkType::RawIp, packet).with_checksum(checksum);
                decoder.decode(&frame, Instant::from_secs(1), |_, _| Ok(()))
            });
            assert_eq!(results[1].is_ok(), intact, "{version:?} {states:?}");
        }
    }
}
