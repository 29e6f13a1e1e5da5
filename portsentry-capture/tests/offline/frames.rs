//! Frames written byte by byte, from the RFCs and independently of the decoder.

use portsentry_capture::{LinkType, Packet};
use portsentry_core::{Evidence, IpOptions, TcpFlags, TcpSegment};

pub(crate) const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const AUTHENTICATION: u8 = 51;
pub(crate) const DESTINATION: u8 = 60;

pub(crate) const SOURCE_V4: [u8; 4] = [192, 0, 2, 1];
pub(crate) const TARGET_V4: [u8; 4] = [198, 51, 100, 7];

/// Returns the address 2001:db8:: with this last byte.
pub(crate) const fn v6(last: u8) -> [u8; 16] {
    [0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]
}

/// Returns a segment from port 40000 to 23, sequence number 0x01020304, window 1024.
pub(crate) fn tcp(flags: u16) -> Vec<u8> {
    let [high, low] = flags.to_be_bytes();
    let mut header = vec![0x9c, 0x40, 0, 23, 1, 2, 3, 4, 0, 0, 0, 0, 0x50 | high, low];
    header.extend([0x04, 0x00, 0, 0, 0, 0]);
    header
}

/// Returns a SYN with `words` words of options.
pub(crate) fn tcp_with_options(words: u8) -> Vec<u8> {
    let mut header = tcp(0x002);
    header[12] = (5 + words) << 4;
    header.resize(20 + 4 * usize::from(words), 1);
    header
}

/// Returns a datagram from port 40000 to 53.
pub(crate) fn udp(payload: &[u8]) -> Vec<u8> {
    let [high, low] = (8 + payload.len() as u16).to_be_bytes();
    [&[0x9c, 0x40, 0, 53, high, low, 0, 0], payload].concat()
}

pub(crate) fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ipv4_with_options(0, protocol, payload)
}

pub(crate) fn ipv4_with_options(words: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = 20 + 4 * usize::from(words) + payload.len();
    let [high, low] = (length as u16).to_be_bytes();
    let mut packet = vec![0x45 + words, 0, high, low, 0xab, 0xcd, 0, 0, 57, protocol, 0, 0];
    packet.extend(SOURCE_V4);
    packet.extend(TARGET_V4);
    packet.extend(vec![1; 4 * usize::from(words)]);
    packet.extend(payload);
    sealed(packet)
}

pub(crate) fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    sealed([&[0x60, 0, 0, 0, high, low, next, 57], &v6(1)[..], &v6(2), payload].concat())
}

/// Returns an extension header of `8 * (units + 1)` bytes, followed by `rest`.
pub(crate) fn extension(next: u8, units: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 8 * (usize::from(units) + 1)];
    header[..4].copy_from_slice(&[next, units, 1, 4]);
    [&header, rest].concat()
}

/// Returns a routing header of type 0 without addresses, with `left` segments left.
pub(crate) fn routing(next: u8, left: u8, rest: &[u8]) -> Vec<u8> {
    [&[next, 0, 0, left, 0, 0, 0, 0], rest].concat()
}

/// Returns a fragment header; `offset` is in bytes.
pub(crate) fn fragment(next: u8, offset: u16, more: bool, rest: &[u8]) -> Vec<u8> {
    let [high, low] = (offset | u16::from(more)).to_be_bytes();
    [&[next, 0, high, low, 0, 0, 0, 9], rest].concat()
}

/// Returns an authentication header of `4 * (units + 2)` bytes.
pub(crate) fn authentication(next: u8, units: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 4 * (usize::from(units) + 2)];
    header[..2].copy_from_slice(&[next, units]);
    [&header, rest].concat()
}

pub(crate) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = ether_type.to_be_bytes();
    [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, high, low], payload].concat()
}

/// Returns the tag of VLAN 6; the EtherType of the tag itself must precede it.
pub(crate) fn tag(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = ether_type.to_be_bytes();
    [&[0, 6, high, low], payload].concat()
}

/// Returns a cooked frame from a device of this ARP hardware type.
pub(crate) fn sll(hardware: u16, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let ([h0, h1], [p0, p1]) = (hardware.to_be_bytes(), protocol.to_be_bytes());
    [&[0, 0, h0, h1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, p0, p1], payload].concat()
}

/// Returns the same for version 2, from interface 0x01020304.
pub(crate) fn sll2(hardware: u16, protocol: u16, payload: &[u8]) -> Vec<u8> {
    let ([h0, h1], [p0, p1]) = (hardware.to_be_bytes(), protocol.to_be_bytes());
    let header = [p0, p1, 0, 0, 1, 2, 3, 4, h0, h1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0];
    [&header, payload].concat()
}

/// Returns `bytes` with those at `offset` replaced.
pub(crate) fn with(bytes: &[u8], offset: usize, new: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + new.len()].copy_from_slice(new);
    bytes
}

/// Returns the ones' complement sum of the 16-bit words (RFC 1071), not complemented.
pub(crate) fn ones_sum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0u32;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

/// Returns the pseudo-header of a segment in this IP packet.
pub(crate) fn pseudo_header(packet: &[u8], protocol: u8, length: usize) -> Vec<u8> {
    let addresses = if packet[0] >> 4 == 4 { &packet[12..20] } else { &packet[8..40] };
    [addresses, &[0, protocol], &(length as u32).to_be_bytes()].concat()
}

/// Returns the protocol and the place of the transport header of an IP packet, if there is
/// a complete one.
pub(crate) fn segment(packet: &[u8]) -> Option<(u8, std::ops::Range<usize>)> {
    let field =
        |at: usize| Some(usize::from(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?])));
    let (mut next, mut at, end) = match packet.first()? >> 4 {
        4 if field(6)? & 0x3fff == 0 => {
            (*packet.get(9)?, usize::from(packet[0] & 15) * 4, field(2)?)
        }
        6 => match (field(4)?, *packet.get(6)?) {
            (0, HOP_BY_HOP) => (HOP_BY_HOP, 40, packet.len()),
            (length, next) => (next, 40, 40 + length),
        },
        _ => return None,
    };
    loop {
        let units = usize::from(*packet.get(at + 1)?);
        let length = match next {
            TCP | UDP => break,
            HOP_BY_HOP | ROUTING | DESTINATION => 8 * (units + 1),
            AUTHENTICATION => 4 * (units + 2),
            FRAGMENT if field(at + 2)? & 0xfff9 == 0 => 8,
            _ => return None,
        };
        (next, at) = (packet[at], at + length);
    }
    let end = match (next, field(at + 4)?) {
        (UDP, length) if length > 0 => at + length,
        _ => end,
    };
    let shortest = if next == TCP { 20 } else { 8 };
    (at + shortest <= end && end <= packet.len()).then_some((next, at..end))
}

/// Returns the IP packet with correct checksums, if it has any.
pub(crate) fn sealed(mut packet: Vec<u8>) -> Vec<u8> {
    if let Some((protocol, place)) = segment(&packet) {
        let pseudo_header = pseudo_header(&packet, protocol, place.len());
        let segment = &mut packet[place];
        let field = if protocol == TCP { 16..18 } else { 6..8 };
        segment[field.clone()].fill(0);
        let checksum = match !ones_sum(&[&pseudo_header, segment]) {
            0 if protocol == UDP => 0xffff,
            checksum => checksum,
        };
        segment[field].copy_from_slice(&checksum.to_be_bytes());
    }
    let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    if packet.first().is_some_and(|first| first >> 4 == 4)
        && header >= 20
        && let Some(header) = packet.get_mut(..header)
    {
        header[10..12].fill(0);
        let checksum = !ones_sum(&[header]);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
    packet
}

/// Returns the decoded form of [`tcp`] in [`ipv4`] of `wire_length` bytes.
pub(crate) fn segment_v4(flags: u16, wire_length: usize) -> Packet {
    let segment =
        TcpSegment::new(TcpFlags::from_bits(flags)).with_sequence(0x0102_0304).with_window(1024);
    let (source, target) = ((SOURCE_V4, 40000).into(), (TARGET_V4, 23).into());
    Packet::new(source, target, Evidence::Segment(segment))
        .with_ip_options(IpOptions::Absent)
        .with_ttl(57)
        .with_ip_id(0xabcd)
        .with_wire_length(wire_length)
}

/// Returns the decoded form of [`udp`] in [`ipv4`].
pub(crate) fn datagram_v4(wire_length: usize) -> Packet {
    let mut packet = segment_v4(0, wire_length);
    (packet.target_port, packet.evidence) = (53, Evidence::Datagram);
    packet
}

/// Returns the same packet over [`ipv6`].
pub(crate) fn over_v6(mut packet: Packet) -> Packet {
    (packet.source, packet.target) = (v6(1).into(), v6(2).into());
    (packet.ip_options, packet.ip_id) = (IpOptions::Unknown, None);
    packet
}

/// Every link type.
pub(crate) const LINKS: [LinkType; 5] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::BsdLoopback,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
];

/// Returns `payload` after a link header that announces IPv4 or IPv6.
pub(crate) fn framed(link: LinkType, is_v6: bool, payload: &[u8]) -> Vec<u8> {
    let ether_type = if is_v6 { 0x86dd } else { 0x0800 };
    match link {
        LinkType::Ethernet => ethernet(ether_type, payload),
        LinkType::RawIp => payload.to_vec(),
        LinkType::BsdLoopback => [&[if is_v6 { 30 } else { 2 }, 0, 0, 0], payload].concat(),
        LinkType::LinuxSll => sll(1, ether_type, payload),
        LinkType::LinuxSll2 => sll2(1, ether_type, payload),
        other => panic!("link header of {other:?}"),
    }
}
