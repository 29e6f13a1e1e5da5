//! IPv4 and IPv6 headers: options, wrong lengths, padding, checksums.

use super::Outcome::{Probe, ProbeWithOptions, Silent, Undecodable};
use super::{Form, Wire, form};
use crate::expected::{NULL, SYN, UDP};
use crate::frames::{TCP, UDP as DATAGRAM, ipv4_with_options, sealed, tcp, udp, with};

const TOTAL_LENGTH: super::Outcome = Undecodable("impossible IP total length");
const HEADER_LENGTH: super::Outcome = Undecodable("impossible IP header length");
const SHORT_FRAME: super::Outcome = Undecodable("frame shorter than its IP packet");
const ENDS_INSIDE: super::Outcome = Undecodable("packet ends inside the transport header");

/// Returns a SYN in IPv4 with a changed header and its correct checksum.
fn changed(wire: &Wire, offset: usize, new: &[u8]) -> Vec<Vec<u8>> {
    vec![wire.ip(&sealed(with(&wire.v4(TCP, &tcp(2)), offset, new)))]
}

/// Returns a SYN in IPv4 whose header claims a length of `words`, in a long enough frame.
fn of_words(wire: &Wire, words: u8) -> Vec<Vec<u8>> {
    let packet = with(&wire.v4(TCP, &tcp(2)), 0, &[0x40 | words]);
    vec![[wire.ip(&packet), vec![1; 60]].concat()]
}

/// Returns a SYN in IPv6 with a changed header.
fn changed_v6(wire: &Wire, offset: usize, new: &[u8]) -> Vec<Vec<u8>> {
    vec![wire.frame(0x86dd, &with(&wire.v6(TCP, &tcp(2)), offset, new))]
}

/// Returns a SYN in an IPv4 header with these options.
fn with_options(wire: &Wire, options: &[u8]) -> Vec<Vec<u8>> {
    let words = u8::try_from(options.len() / 4).expect("at most 40 bytes");
    let packet = with(&ipv4_with_options(words, TCP, &tcp(2)), 20, options);
    vec![wire.ip(&sealed(with(&packet, 12, &wire.between.v4.concat())))]
}

pub(super) const FORMS: &[Form] = &[
    // RFC 791 section 3.1.
    form("no-operations", ProbeWithOptions(SYN), |wire| with_options(wire, &[1; 4])),
    form("40 bytes of options", ProbeWithOptions(SYN), |wire| with_options(wire, &[1; 40])),
    form("end of options", ProbeWithOptions(SYN), |wire| with_options(wire, &[0; 4])),
    form("record route", ProbeWithOptions(SYN), |wire| {
        with_options(wire, &[7, 7, 4, 0, 0, 0, 0, 0])
    }),
    form("time stamp", ProbeWithOptions(SYN), |wire| {
        with_options(wire, &[68, 8, 5, 0, 0, 0, 0, 0])
    }),
    form("loose source route, at its end", ProbeWithOptions(SYN), |wire| {
        with_options(wire, &[131, 7, 8, 192, 0, 2, 1, 0])
    }),
    form("strict source route, at its end", ProbeWithOptions(SYN), |wire| {
        with_options(wire, &[137, 7, 8, 192, 0, 2, 1, 0])
    }),
    form("header of 0 bytes", HEADER_LENGTH, |wire| of_words(wire, 0)),
    form("header of 12 bytes", HEADER_LENGTH, |wire| of_words(wire, 3)),
    form("header of 16 bytes", HEADER_LENGTH, |wire| of_words(wire, 4)),
    form("header longer than the packet", TOTAL_LENGTH, |wire| of_words(wire, 15)),
    form("total length 0", TOTAL_LENGTH, |wire| changed(wire, 2, &[0, 0])),
    form("total length 19", TOTAL_LENGTH, |wire| changed(wire, 2, &[0, 19])),
    form("total length that ends in the TCP header", ENDS_INSIDE, |wire| {
        changed(wire, 2, &[0, 39])
    }),
    form("total length of the header only", ENDS_INSIDE, |wire| changed(wire, 2, &[0, 20])),
    form("total length beyond the frame", SHORT_FRAME, |wire| changed(wire, 2, &[0, 41])),
    form("total length far beyond the frame", SHORT_FRAME, |wire| changed(wire, 2, &[0xff, 0xff])),
    form("padding", Probe(NULL), |wire| {
        vec![[wire.ip(&wire.v4(TCP, &tcp(0))), vec![0xff; 100]].concat()]
    }),
    form("padding after a datagram", Probe(UDP), |wire| {
        vec![[wire.ip(&wire.v4(DATAGRAM, &udp(b"x"))), vec![0xff; 17]].concat()]
    }),
    form("padding, IPv6", Probe(SYN), |wire| {
        vec![[wire.ip(&wire.v6(TCP, &tcp(2))), vec![0xff; 100]].concat()]
    }),
    form("payload length beyond the frame", SHORT_FRAME, |wire| changed_v6(wire, 4, &[0, 21])),
    form("payload length that ends in the TCP header", ENDS_INSIDE, |wire| {
        changed_v6(wire, 4, &[0, 19])
    }),
    form("payload length 0 without hop-by-hop options", ENDS_INSIDE, |wire| {
        changed_v6(wire, 4, &[0, 0])
    }),
    form("version 6 in a frame of IPv4", Undecodable("wrong IP version"), |wire| {
        vec![wire.frame(0x0800, &with(&wire.v4(TCP, &tcp(2)), 0, &[0x65]))]
    }),
    form("version 4 in a frame of IPv6", Undecodable("wrong IP version"), |wire| {
        changed_v6(wire, 0, &[0x45])
    }),
    form("header checksum", Undecodable("wrong IPv4 header checksum"), |wire| {
        let packet = wire.v4(TCP, &tcp(2));
        vec![wire.ip(&with(&packet, 10, &[packet[10] ^ 1]))]
    }),
    form("time to live 1", Probe(SYN), |wire| changed(wire, 8, &[1])),
    form("time to live 0", Probe(SYN), |wire| changed(wire, 8, &[0])),
    form("hop limit 1", Probe(SYN), |wire| changed_v6(wire, 7, &[1])),
    form("hop limit 0", Probe(SYN), |wire| changed_v6(wire, 7, &[0])),
    form("don't fragment", Probe(SYN), |wire| changed(wire, 6, &[0x40])),
    form("reserved bit", Probe(SYN), |wire| changed(wire, 6, &[0x80])),
    form("type of service", Probe(SYN), |wire| changed(wire, 1, &[0xff])),
    form("traffic class and flow label", Probe(SYN), |wire| {
        changed_v6(wire, 0, &[0x6f, 0xff, 0xff, 0xff])
    }),
    // Protocols that carry others, or that are not watched: the numbers at the place of the
    // ports have no meaning.
    form("SCTP", Silent, |wire| wire.send_v4(132, &tcp(2))),
    form("SCTP, IPv6", Silent, |wire| wire.send_v6(132, &tcp(2))),
    form("UDP-Lite", Silent, |wire| wire.send_v4(136, &udp(b"x"))),
    form("UDP-Lite, IPv6", Silent, |wire| wire.send_v6(136, &udp(b"x"))),
    form("DCCP", Silent, |wire| wire.send_v4(33, &tcp(2))),
    form("DCCP, IPv6", Silent, |wire| wire.send_v6(33, &tcp(2))),
    form("4in4", Silent, |wire| wire.send_v4(4, &wire.v4(TCP, &tcp(2)))),
    form("6in4", Silent, |wire| wire.send_v4(41, &wire.v6(TCP, &tcp(2)))),
    form("4in6", Silent, |wire| wire.send_v6(4, &wire.v4(TCP, &tcp(2)))),
    form("6in6", Silent, |wire| wire.send_v6(41, &wire.v6(TCP, &tcp(2)))),
    form("GRE", Silent, |wire| {
        wire.send_v4(47, &[&[0, 0, 8, 0], &wire.v4(TCP, &tcp(2))[..]].concat())
    }),
    form("GRE, IPv6", Silent, |wire| {
        wire.send_v6(47, &[&[0, 0, 8, 0], &wire.v4(TCP, &tcp(2))[..]].concat())
    }),
    form("ESP", Silent, |wire| wire.send_v4(50, &tcp(2))),
    form("ESP, IPv6", Silent, |wire| wire.send_v6(50, &tcp(2))),
    form("ICMP that quotes a SYN", Silent, |wire| {
        wire.send_v4(1, &[&[3, 3, 0, 0, 0, 0, 0, 0], &wire.v4(TCP, &tcp(2))[..]].concat())
    }),
    form("an unknown protocol", Silent, |wire| wire.send_v4(253, &tcp(2))),
    form("an unknown protocol, IPv6", Silent, |wire| wire.send_v6(254, &tcp(2))),
];
