//! TCP and UDP headers: flags, options, wrong lengths, checksums, ports.

use super::Outcome::{Probe, ProbeOf, Silent, Undecodable};
use super::{Form, Wire, form};
use crate::expected::{FIN, NULL, SYN, UDP, XMAS};
use crate::frames::{
    TCP, UDP as DATAGRAM, ones_sum, pseudo_header, sealed, tcp, tcp_with_options, udp, with,
};

const TCP_CHECKSUM: super::Outcome = Undecodable("wrong TCP checksum");
const UDP_CHECKSUM: super::Outcome = Undecodable("wrong UDP checksum");
const DATA_OFFSET: super::Outcome = Undecodable("impossible TCP data offset");
const UDP_LENGTH: super::Outcome = Undecodable("impossible UDP length");
const ENDS_INSIDE: super::Outcome = Undecodable("packet ends inside the transport header");

/// Returns a segment with these flags, those of congestion control, and the reserved bits
/// (RFC 9293 section 3.1, RFC 3168).
fn decorated(flags: u16) -> Vec<u8> {
    tcp(flags | 0x0fc0)
}

/// Returns a SYN with a wrong checksum.
fn damaged(packet: &[u8]) -> Vec<u8> {
    let last = packet.len() - 1;
    with(packet, last, &[packet[last] ^ 1])
}

/// Returns an IPv4 or IPv6 packet with a datagram of `length` bytes, with `field` as its
/// length field, and with a correct checksum if one exists.
fn lying(packet: &[u8], length: usize, field: u16) -> Vec<u8> {
    sealed(with(packet, packet.len() - length + 4, &field.to_be_bytes()))
}

fn from_port(port: u16, header: &[u8]) -> Vec<u8> {
    with(header, 0, &port.to_be_bytes())
}

fn to_port(port: u16, header: &[u8]) -> Vec<u8> {
    with(header, 2, &port.to_be_bytes())
}

/// Leaves the checksum as a local sender does: the sum of the pseudo-header only.
fn unfinished(wire: &Wire, packet: &[u8], protocol: u8, length: usize) -> Vec<Vec<u8>> {
    let sum = ones_sum(&[&pseudo_header(packet, protocol, length)]);
    let field = packet.len() - length + if protocol == TCP { 16 } else { 6 };
    vec![wire.ip(&with(packet, field, &sum.to_be_bytes()))]
}

pub(super) const FORMS: &[Form] = &[
    form("SYN, ECE and CWR", Probe(SYN), |wire| wire.send_v4(TCP, &tcp(0xc2))),
    form("SYN, all reserved bits", Probe(SYN), |wire| wire.send_v4(TCP, &decorated(2))),
    form("NULL, all reserved bits", Probe(NULL), |wire| wire.send_v4(TCP, &decorated(0))),
    form("FIN, all reserved bits", Probe(FIN), |wire| wire.send_v6(TCP, &decorated(1))),
    form("XMAS, all reserved bits", Probe(XMAS), |wire| wire.send_v6(TCP, &decorated(0x29))),
    form("RST, all reserved bits", Silent, |wire| wire.send_v4(TCP, &decorated(4))),
    form("ACK, all reserved bits", Silent, |wire| wire.send_v6(TCP, &decorated(0x10))),
    form("data offset 0", DATA_OFFSET, |wire| wire.send_v4(TCP, &with(&tcp(2), 12, &[0]))),
    form("data offset 4", DATA_OFFSET, |wire| wire.send_v4(TCP, &with(&tcp(2), 12, &[0x40]))),
    form("data offset beyond the segment", DATA_OFFSET, |wire| {
        wire.send_v4(TCP, &with(&tcp(2), 12, &[0x60]))
    }),
    form("data offset beyond the segment, IPv6", DATA_OFFSET, |wire| {
        wire.send_v6(TCP, &with(&tcp(2), 12, &[0xf0]))
    }),
    form("data offset into padding", DATA_OFFSET, |wire| {
        let packet = wire.v4(TCP, &with(&tcp(2), 12, &[0x60]));
        vec![[wire.ip(&packet), vec![0; 100]].concat()]
    }),
    form("40 bytes of options", Probe(SYN), |wire| wire.send_v4(TCP, &tcp_with_options(10))),
    form("payload", Probe(SYN), |wire| {
        wire.send_v4(TCP, &[tcp(2), b"GET / HTTP/1.0\r\n\r\n".to_vec()].concat())
    }),
    // RFC 7413 section 4.1.1: a request for a cookie, and data with a cookie.
    form("Fast Open, without cookie", Probe(SYN), |wire| {
        wire.send_v4(TCP, &with(&tcp_with_options(1), 20, &[34, 2, 1, 1]))
    }),
    form("Fast Open, with cookie and data", Probe(SYN), |wire| {
        let cookie = [34, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1];
        let header = with(&tcp_with_options(3), 20, &cookie);
        wire.send_v6(TCP, &[header, vec![b'x'; 100]].concat())
    }),
    form("payload of 4,000 bytes", Probe(SYN), |wire| {
        wire.send_v4(TCP, &[tcp(2), vec![b'x'; 4_000]].concat())
    }),
    form("datagram of 4,000 bytes", Probe(UDP), |wire| {
        wire.send_v6(DATAGRAM, &udp(&[b'x'; 4_000]))
    }),
    form("TCP checksum", TCP_CHECKSUM, |wire| vec![wire.ip(&damaged(&wire.v4(TCP, &tcp(2))))]),
    form("TCP checksum, IPv6", TCP_CHECKSUM, |wire| {
        vec![wire.ip(&damaged(&wire.v6(TCP, &tcp(2))))]
    }),
    form("TCP checksum 0", TCP_CHECKSUM, |wire| {
        vec![wire.ip(&with(&wire.v4(TCP, &tcp(2)), 36, &[0, 0]))]
    }),
    form("UDP checksum", UDP_CHECKSUM, |wire| {
        vec![wire.ip(&damaged(&wire.v4(DATAGRAM, &udp(b"x"))))]
    }),
    form("UDP checksum, IPv6", UDP_CHECKSUM, |wire| {
        vec![wire.ip(&damaged(&wire.v6(DATAGRAM, &udp(b"x"))))]
    }),
    // RFC 768: the sender computed no checksum. RFC 8200 section 8.1 forbids that.
    form("no UDP checksum", Probe(UDP), |wire| {
        vec![wire.ip(&with(&wire.v4(DATAGRAM, &udp(b"x")), 26, &[0, 0]))]
    }),
    form("no UDP checksum, IPv6", UDP_CHECKSUM, |wire| {
        vec![wire.ip(&with(&wire.v6(DATAGRAM, &udp(b"x")), 46, &[0, 0]))]
    }),
    // Packets of a scan from a container on this machine have such checksums.
    form("unfinished TCP checksum", Probe(SYN), |wire| {
        unfinished(wire, &wire.v4(TCP, &tcp(2)), TCP, 20)
    }),
    form("unfinished UDP checksum, IPv6", Probe(UDP), |wire| {
        unfinished(wire, &wire.v6(DATAGRAM, &udp(b"x")), DATAGRAM, 9)
    }),
    form("UDP length 0", UDP_LENGTH, |wire| {
        vec![wire.ip(&lying(&wire.v4(DATAGRAM, &udp(b"x")), 9, 0))]
    }),
    form("UDP length 7", UDP_LENGTH, |wire| {
        vec![wire.ip(&lying(&wire.v4(DATAGRAM, &udp(b"x")), 9, 7))]
    }),
    form("UDP length beyond the packet", UDP_LENGTH, |wire| {
        vec![wire.ip(&lying(&wire.v6(DATAGRAM, &udp(b"x")), 9, 10))]
    }),
    form("UDP length beyond the packet, into padding", UDP_LENGTH, |wire| {
        let packet = lying(&wire.v4(DATAGRAM, &udp(b"x")), 9, 10);
        vec![[wire.ip(&packet), vec![0; 100]].concat()]
    }),
    form("UDP length below the packet's", Probe(UDP), |wire| {
        vec![wire.ip(&lying(&wire.v4(DATAGRAM, &udp(b"xyz")), 11, 9))]
    }),
    // Linux takes the length from the packet.
    form("UDP length 0, IPv6", Probe(UDP), |wire| {
        vec![wire.ip(&lying(&wire.v6(DATAGRAM, &udp(b"x")), 9, 0))]
    }),
    form("no payload", Probe(UDP), |wire| wire.send_v4(DATAGRAM, &udp(b""))),
    form("half a UDP header", ENDS_INSIDE, |wire| {
        let packet = [wire.v4(DATAGRAM, &udp(b"")[..4]), vec![0; 20]].concat();
        vec![wire.ip(&packet)]
    }),
    // No source port is exempt, not even those of common services.
    form("from port 20", Probe(SYN), |wire| wire.send_v4(TCP, &from_port(20, &tcp(2)))),
    form("from port 53", Probe(SYN), |wire| wire.send_v6(TCP, &from_port(53, &tcp(2)))),
    form("from port 80", Probe(NULL), |wire| wire.send_v4(TCP, &from_port(80, &tcp(0)))),
    form("from port 443", Probe(SYN), |wire| wire.send_v4(TCP, &from_port(443, &tcp(2)))),
    form("from port 0", Probe(SYN), |wire| wire.send_v4(TCP, &from_port(0, &tcp(2)))),
    form("datagram from port 53", Probe(UDP), |wire| {
        wire.send_v4(DATAGRAM, &from_port(53, &udp(b"x")))
    }),
    form("datagram from port 123", Probe(UDP), |wire| {
        wire.send_v6(DATAGRAM, &from_port(123, &udp(b"x")))
    }),
    form("to port 0", Silent, |wire| wire.send_v4(TCP, &to_port(0, &tcp(2)))),
    form("to port 65,535", ProbeOf(SYN, 65_535), |wire| {
        wire.send_v4(TCP, &to_port(65_535, &tcp(2)))
    }),
    // The decoder does not look inside the tunnel.
    form("Teredo", ProbeOf(UDP, 3_544), |wire| {
        wire.send_v4(DATAGRAM, &to_port(3_544, &udp(&wire.v6(TCP, &tcp(2)))))
    }),
];
