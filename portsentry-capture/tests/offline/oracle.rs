//! A second decoder, based on `pnet_packet`. It has only the RFCs in common with ours,
//! checks every length and checksum itself, and only reports whether a frame contains a
//! packet.

use std::net::{IpAddr, Ipv6Addr};

use pnet_packet::Packet as _;
use pnet_packet::ethernet::{EtherType, EtherTypes, EthernetPacket};
use pnet_packet::ip::{IpNextHeaderProtocol, IpNextHeaderProtocols as Next};
use pnet_packet::ipv4::{self, Ipv4Packet};
use pnet_packet::ipv6::{FragmentPacket, Ipv6Packet};
use pnet_packet::sll::SLLPacket;
use pnet_packet::sll2::SLL2Packet;
use pnet_packet::tcp::{self, TcpPacket};
use pnet_packet::udp::{self, UdpPacket};
use pnet_packet::util;
use pnet_packet::vlan::VlanPacket;
use portsentry_capture::{LinkType, decode};
use portsentry_core::Evidence;

/// The properties of a frame that both decoders can report.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    addresses: (IpAddr, IpAddr),
    ports: (u16, u16),
    /// Flags, sequence number, window.
    tcp: Option<(u16, u32, u16)>,
    ttl: u8,
}

pub(crate) fn ours(link: LinkType, frame: &[u8]) -> Option<Seen> {
    let packet = decode(link, frame).ok()?;
    Some(Seen {
        addresses: (packet.source, packet.target),
        ports: (packet.source_port, packet.target_port),
        tcp: match packet.evidence {
            Evidence::Segment(tcp) => Some((tcp.flags.bits(), tcp.sequence, tcp.window)),
            _ => None,
        },
        ttl: packet.ttl,
    })
}

pub(crate) fn theirs(link: LinkType, frame: &[u8]) -> Option<Seen> {
    match link {
        LinkType::RawIp => match frame.first()? >> 4 {
            4 => theirs_v4(frame),
            _ => theirs_v6(frame),
        },
        LinkType::BsdLoopback => {
            let family: [u8; 4] = frame.get(..4)?.try_into().unwrap();
            let family = u32::from_le_bytes(family).min(u32::from_be_bytes(family));
            match family {
                2 => theirs_v4(&frame[4..]),
                10 | 24 | 28 | 30 => theirs_v6(&frame[4..]),
                _ => None,
            }
        }
        LinkType::Ethernet => {
            let frame = EthernetPacket::new(frame)?;
            theirs_tagged(frame.get_ethertype(), frame.payload(), 2)
        }
        LinkType::LinuxSll => {
            let frame = SLLPacket::new(frame).filter(|_| frame.len() >= 16)?;
            theirs_cooked(frame.get_protocol(), &frame.packet()[16..], 2)
        }
        LinkType::LinuxSll2 => {
            let frame = SLL2Packet::new(frame).filter(|_| frame.len() >= 20)?;
            theirs_cooked(frame.get_protocol_type(), &frame.packet()[20..], 2)
        }
        other => panic!("link header of {other:?}"),
    }
}

/// The kernel may name the protocol after inner tags that are still in the frame, or 0.
fn theirs_cooked(ether_type: EtherType, rest: &[u8], tags_left: u8) -> Option<Seen> {
    if let EtherType(0x8100 | 0x88a8 | 0x9100) = ether_type {
        let (inner, rest, tags_left) = theirs_tag(ether_type, rest, tags_left)?;
        // Only the cooked header contains 0 in place of a protocol.
        return theirs_cooked(inner, rest, tags_left).filter(|_| inner != EtherType(0));
    }
    if !matches!(ether_type, EtherTypes::Ipv4 | EtherTypes::Ipv6 | EtherType(0)) {
        return None;
    }
    let is_header = ether_type == EtherTypes::Ipv4 && rest.first()? >> 4 == 4 && rest[0] & 15 > 4;
    let (mut inner, mut inside) = (EtherType(0x8100), rest);
    while let EtherType(0x8100 | 0x88a8 | 0x9100) = inner
        && let Some(tag) = VlanPacket::new(inside)
    {
        (inner, inside) = (tag.get_ethertype(), &inside[4..]);
    }
    let version = inside.first().map(|first| first >> 4);
    let is_tagged = match inner {
        EtherTypes::Ipv4 => version == Some(4),
        EtherTypes::Ipv6 => version == Some(6),
        _ => false,
    };
    if !is_header && is_tagged && (ether_type == inner || ether_type == EtherType(0)) {
        return theirs_tagged(inner, inside, 0);
    }
    theirs_tagged(ether_type, rest, 0)
}

fn theirs_tagged(ether_type: EtherType, rest: &[u8], tags_left: u8) -> Option<Seen> {
    match ether_type {
        EtherTypes::Ipv4 => theirs_v4(rest),
        EtherTypes::Ipv6 => theirs_v6(rest),
        EtherType(0x8100 | 0x88a8 | 0x9100) => {
            let (inner, rest, tags_left) = theirs_tag(ether_type, rest, tags_left)?;
            theirs_tagged(inner, rest, tags_left)
        }
        _ => None,
    }
}

/// Removes a tag. Tags that contain only a priority are not counted.
fn theirs_tag(kind: EtherType, bytes: &[u8], left: u8) -> Option<(EtherType, &[u8], u8)> {
    let tag = VlanPacket::new(bytes)?;
    let is_counted = kind == EtherType(0x9100) || tag.get_vlan_identifier() != 0;
    let left = if is_counted { left.checked_sub(1)? } else { left };
    Some((tag.get_ethertype(), &bytes[4..], left))
}

fn theirs_v4(bytes: &[u8]) -> Option<Seen> {
    let ip = Ipv4Packet::new(bytes)?;
    let header = usize::from(ip.get_header_length()) * 4;
    let total = usize::from(ip.get_total_length());
    let is_whole = ip.get_fragment_offset() == 0 && ip.get_flags() & 1 == 0;
    if ip.get_version() != 4 || header < 20 || total < header || !is_whole {
        return None;
    }
    let mut rest = bytes.get(header..)?;
    if !same(ip.get_checksum(), ipv4::checksum(&ip)) {
        return None;
    }
    let mut length = total - header;
    let mut protocol = ip.get_next_level_protocol();
    if protocol == Next::Ah {
        let (next, size) = theirs_ah(rest, length)?;
        (protocol, rest, length) = (next, &rest[size..], length - size);
    }
    let addresses = (ip.get_source().into(), ip.get_destination().into());
    theirs_transport(addresses, ip.get_ttl(), protocol, rest, length, true)
}

fn theirs_v6(bytes: &[u8]) -> Option<Seen> {
    let ip = Ipv6Packet::new(bytes)?;
    let (source, target) = (ip.get_source(), ip.get_destination());
    let is_mapped = |address: Ipv6Addr| address.segments()[..6] == [0, 0, 0, 0, 0, 0xffff];
    // Linux replies to a mapped source, but never accepts a mapped target.
    if ip.get_version() != 6 || is_mapped(target) {
        return None;
    }
    let mut next = ip.get_next_header();
    // The length of a jumbogram is unknown without the length of the frame, and so its
    // checksum cannot be verified.
    let is_jumbo = ip.get_payload_length() == 0 && next == Next::Hopopt;
    let mut rest = &bytes[40..];
    let mut length = match ip.get_payload_length() {
        0 if next == Next::Hopopt => rest.len(),
        length => length.into(),
    };
    let mut walked = Vec::new();
    loop {
        let (following, size) = match next {
            Next::Hopopt if !walked.is_empty() => return None,
            // The packet has further hops.
            Next::Ipv6Route if *rest.get(3)? > 0 => return None,
            Next::Hopopt | Next::Ipv6Route | Next::Ipv6Opts => {
                (*rest.first()?, 8 + 8 * usize::from(*rest.get(1)?))
            }
            Next::Ipv6Frag => {
                let header = FragmentPacket::new(rest)?;
                // Not `get_fragment_offset`, which counts a reserved bit as a part of the
                // offset.
                let is_second = walked.contains(&Next::Ipv6Frag);
                if header.get_fragment_offset_with_flags() & 0xfff9 != 0 || is_second || is_jumbo {
                    return None;
                }
                (rest[0], 8)
            }
            Next::Ah => {
                let (following, size) = theirs_ah(rest, length)?;
                (following.0, size)
            }
            _ => break,
        };
        walked.push(next);
        if size > length {
            return None;
        }
        rest = rest.get(size..)?;
        length -= size;
        next = IpNextHeaderProtocol(following);
    }
    let addresses = (source.into(), target.into());
    theirs_transport(addresses, ip.get_hop_limit(), next, rest, length, !is_jumbo)
}

/// Skips an authentication header, which `pnet_packet` does not know.
fn theirs_ah(rest: &[u8], length: usize) -> Option<(IpNextHeaderProtocol, usize)> {
    let size = 4 * (usize::from(*rest.get(1)?) + 2);
    let fits = size >= 12 && size <= length && size <= rest.len();
    fits.then(|| (IpNextHeaderProtocol(rest[0]), size))
}

fn theirs_transport(
    addresses: (IpAddr, IpAddr),
    ttl: u8,
    protocol: IpNextHeaderProtocol,
    rest: &[u8],
    length: usize,
    verify: bool,
) -> Option<Seen> {
    let is_v6 = addresses.0.is_ipv6();
    let rest = &rest[..length.min(rest.len())];
    match protocol {
        Next::Tcp => {
            let tcp = TcpPacket::new(rest)?;
            let header = usize::from(tcp.get_data_offset()) * 4;
            let flags = u16::from(tcp.get_reserved()) << 8 | u16::from(tcp.get_flags());
            let intact = !verify
                || rest.len() < length
                || same(tcp.get_checksum(), tcp_checksum(addresses, &tcp))
                || tcp.get_checksum() == pseudo_header_sum(addresses, 6, length);
            (header >= 20 && header <= length && intact).then(|| Seen {
                addresses,
                ports: (tcp.get_source(), tcp.get_destination()),
                tcp: Some((flags, tcp.get_sequence(), tcp.get_window())),
                ttl,
            })
        }
        Next::Udp => {
            let udp = UdpPacket::new(rest)?;
            let claimed = usize::from(udp.get_length());
            let fits = (8..=length).contains(&claimed) || is_v6 && claimed == 0;
            let covered = if claimed == 0 { length } else { claimed };
            let intact = match udp.get_checksum() {
                0 => !is_v6,
                _ if !verify || rest.len() < covered => true,
                checksum => {
                    let udp = UdpPacket::new(rest.get(..covered)?)?;
                    same(checksum, udp_checksum(addresses, &udp))
                        || checksum == pseudo_header_sum(addresses, 17, covered)
                }
            };
            (fits && intact).then(|| Seen {
                addresses,
                ports: (udp.get_source(), udp.get_destination()),
                tcp: None,
                ttl,
            })
        }
        _ => None,
    }
}

/// Compares two checksums; zero and its complement are equal.
fn same(a: u16, b: u16) -> bool {
    a % 0xffff == b % 0xffff
}

fn tcp_checksum(addresses: (IpAddr, IpAddr), segment: &TcpPacket<'_>) -> u16 {
    match addresses {
        (IpAddr::V4(from), IpAddr::V4(to)) => tcp::ipv4_checksum(segment, &from, &to),
        (IpAddr::V6(from), IpAddr::V6(to)) => tcp::ipv6_checksum(segment, &from, &to),
        _ => unreachable!(),
    }
}

fn udp_checksum(addresses: (IpAddr, IpAddr), datagram: &UdpPacket<'_>) -> u16 {
    match addresses {
        (IpAddr::V4(from), IpAddr::V4(to)) => udp::ipv4_checksum(datagram, &from, &to),
        (IpAddr::V6(from), IpAddr::V6(to)) => udp::ipv6_checksum(datagram, &from, &to),
        _ => unreachable!(),
    }
}

/// Returns the sum that Linux leaves in the field for the hardware to complete.
fn pseudo_header_sum(addresses: (IpAddr, IpAddr), protocol: u8, length: usize) -> u16 {
    let mut bytes = Vec::new();
    for address in [addresses.0, addresses.1] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes.extend([0, protocol]);
    bytes.extend((length as u32).to_be_bytes());
    !util::checksum(&bytes, usize::MAX)
}
