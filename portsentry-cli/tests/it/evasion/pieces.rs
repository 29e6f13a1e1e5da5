//! Fragments: fragmented probes, incomplete probes, and fragments that contradict each
//! other.

use super::Outcome::{Probe, Silent, Undecodable};
use super::{Form, Wire, form};
use crate::expected::{NULL, SYN, UDP, XMAS};
use crate::fragments::Version::{self, V4, V6};
use crate::frames::{
    DESTINATION, FRAGMENT, HOP_BY_HOP, TCP, UDP as DATAGRAM, extension, tag, tcp, udp, with,
};

const OVERLAP: super::Outcome = Undecodable("overlapping fragment");
const LENGTH: super::Outcome = Undecodable("impossible fragment length");
const NO_CHAIN: super::Outcome = Undecodable("first fragment without the whole header chain");

/// Returns a SYN with 20 bytes of payload and a correct checksum.
fn syn(wire: &Wire, version: Version) -> Vec<u8> {
    wire.summed(version, TCP, &[tcp(2), vec![b'x'; 20]].concat())
}

/// Returns a frame for each range of a segment or datagram. The range with its last byte is
/// the last fragment.
fn pieces(
    wire: &Wire,
    version: Version,
    protocol: u8,
    whole: &[u8],
    ranges: &[(usize, usize)],
) -> Vec<Vec<u8>> {
    let piece = |(start, end): &(usize, usize)| {
        let more = *end < whole.len();
        let bytes = &whole[*start..*end];
        wire.ip(&wire.between.fragment(version, protocol, 7, *start, more, bytes))
    };
    ranges.iter().map(piece).collect()
}

fn of_syn(wire: &Wire, version: Version, ranges: &[(usize, usize)]) -> Vec<Vec<u8>> {
    pieces(wire, version, TCP, &syn(wire, version), ranges)
}

pub(super) const FORMS: &[Form] = &[
    form("in two", Probe(SYN), |wire| of_syn(wire, V4, &[(0, 24), (24, 40)])),
    form("in two, IPv6", Probe(SYN), |wire| of_syn(wire, V6, &[(0, 24), (24, 40)])),
    // The first fragment contains no flags (RFC 1858 section 3).
    form("tiny", Probe(SYN), |wire| of_syn(wire, V4, &[(0, 8), (8, 16), (16, 24), (24, 40)])),
    form("tiny, backwards", Probe(SYN), |wire| {
        of_syn(wire, V4, &[(24, 40), (16, 24), (8, 16), (0, 8)])
    }),
    form("backwards, IPv6", Probe(SYN), |wire| of_syn(wire, V6, &[(24, 40), (0, 24)])),
    form("NULL, tiny", Probe(NULL), |wire| {
        let whole = wire.summed(V4, TCP, &tcp(0));
        pieces(wire, V4, TCP, &whole, &[(0, 8), (8, 20)])
    }),
    form("XMAS, tiny", Probe(XMAS), |wire| {
        let whole = wire.summed(V4, TCP, &tcp(0x29));
        pieces(wire, V4, TCP, &whole, &[(0, 8), (8, 16), (16, 20)])
    }),
    form("datagram", Probe(UDP), |wire| {
        let whole = wire.summed(V4, DATAGRAM, &udp(&[b'x'; 92]));
        pieces(wire, V4, DATAGRAM, &whole, &[(0, 8), (8, 96), (96, 100)])
    }),
    form("datagram, IPv6", Probe(UDP), |wire| {
        let whole = wire.summed(V6, DATAGRAM, &udp(&[b'x'; 92]));
        pieces(wire, V6, DATAGRAM, &whole, &[(0, 8), (8, 96), (96, 100)])
    }),
    form("ACK, tiny", Silent, |wire| {
        let whole = wire.summed(V4, TCP, &tcp(0x10));
        pieces(wire, V4, TCP, &whole, &[(0, 8), (8, 20)])
    }),
    form("tiny, with padding after the fragment", Probe(SYN), |wire| {
        let mut frames = of_syn(wire, V4, &[(0, 8), (8, 40)]);
        frames[0].resize(60, 0xff);
        frames
    }),
    form("padded, IPv6", Probe(SYN), |wire| {
        let mut frames = of_syn(wire, V6, &[(0, 24), (24, 40)]);
        frames.iter_mut().for_each(|frame| frame.resize(frame.len() + 10, 0xff));
        frames
    }),
    form("the first alone, padded", Silent, |wire| {
        let mut frames = of_syn(wire, V4, &[(0, 8)]);
        frames[0].resize(60, 0);
        frames
    }),
    form("the first alone, with the whole header", Silent, |wire| of_syn(wire, V4, &[(0, 24)])),
    form("the first alone, IPv6", Silent, |wire| of_syn(wire, V6, &[(0, 24)])),
    // The second fragment starts with bytes that look like a header.
    form("the second alone", Silent, |wire| {
        let whole = [vec![0; 8], wire.summed(V4, TCP, &tcp(2))].concat();
        pieces(wire, V4, TCP, &whole, &[(8, 28)])
    }),
    form("the second alone, IPv6", Silent, |wire| {
        let whole = [vec![0; 8], wire.summed(V6, TCP, &tcp(2))].concat();
        pieces(wire, V6, TCP, &whole, &[(8, 28)])
    }),
    form("the middle missing", Silent, |wire| of_syn(wire, V4, &[(0, 16), (24, 40)])),
    form("copies", Probe(SYN), |wire| of_syn(wire, V4, &[(0, 16), (0, 16), (16, 40), (16, 40)])),
    form("overlap", OVERLAP, |wire| of_syn(wire, V4, &[(0, 24), (16, 40)])),
    form("overlap, IPv6", OVERLAP, |wire| of_syn(wire, V6, &[(0, 24), (16, 40)])),
    // RFC 3128 section 2: a later fragment would turn the flags of an ACK into SYN.
    form("overlap over the flags", OVERLAP, |wire| {
        let ack = wire.summed(V4, TCP, &[tcp(0x10), vec![b'x'; 20]].concat());
        let mut frames = pieces(wire, V4, TCP, &ack, &[(0, 16)]);
        frames.extend(of_syn(wire, V4, &[(8, 40)]));
        frames
    }),
    form("the last within the first", LENGTH, |wire| {
        let whole = syn(wire, V4);
        let mut frames = pieces(wire, V4, TCP, &whole, &[(0, 32)]);
        frames.push(wire.ip(&wire.between.fragment(V4, TCP, 7, 8, false, &whole[8..16])));
        frames
    }),
    form("without bytes", LENGTH, |wire| {
        let mut frames = of_syn(wire, V4, &[(0, 16)]);
        frames.push(wire.ip(&wire.between.fragment(V4, TCP, 7, 16, true, &[])));
        frames
    }),
    form("beyond 65,535 bytes", LENGTH, |wire| {
        vec![wire.ip(&wire.between.fragment(V6, TCP, 7, 65_528, false, &[0; 16]))]
    }),
    // RFC 7112 section 5.
    form("first without the TCP header, IPv6", NO_CHAIN, |wire| {
        of_syn(wire, V6, &[(0, 16), (16, 40)])
    }),
    form("first that ends in destination options", NO_CHAIN, |wire| {
        let whole = extension(TCP, 1, &syn(wire, V6));
        pieces(wire, V6, DESTINATION, &whole, &[(0, 8), (8, 56)])
    }),
    form("first with destination options and TCP", Probe(SYN), |wire| {
        let whole = extension(TCP, 1, &syn(wire, V6));
        pieces(wire, V6, DESTINATION, &whole, &[(0, 40), (40, 56)])
    }),
    form("after hop-by-hop options", Probe(SYN), |wire| {
        let whole = syn(wire, V6);
        let piece = |offset: u16, more, bytes: &[u8]| {
            let rest = crate::frames::fragment(TCP, offset, more, bytes);
            wire.ip(&wire.v6(HOP_BY_HOP, &extension(FRAGMENT, 0, &rest)))
        };
        vec![piece(0, true, &whole[..24]), piece(24, false, &whole[24..])]
    }),
    form("wrong checksum", Undecodable("wrong TCP checksum"), |wire| {
        let whole = with(&syn(wire, V4), 30, b"?");
        pieces(wire, V4, TCP, &whole, &[(0, 16), (16, 40)])
    }),
    form("wrong checksum, padded", Undecodable("wrong TCP checksum"), |wire| {
        let whole = with(&syn(wire, V6), 30, b"?");
        let mut frames = pieces(wire, V6, TCP, &whole, &[(0, 24), (24, 40)]);
        frames.iter_mut().for_each(|frame| frame.resize(frame.len() + 10, 0xff));
        frames
    }),
    form("of two sources", Silent, |wire| {
        let other = wire.with_source("192.0.2.250");
        let mut frames = of_syn(wire, V4, &[(0, 16)]);
        frames.extend(of_syn(&other, V4, &[(16, 40)]));
        frames
    }),
    form("of two identifications", Silent, |wire| {
        let whole = syn(wire, V4);
        let mut frames = pieces(wire, V4, TCP, &whole, &[(0, 16)]);
        frames.push(wire.ip(&wire.between.fragment(V4, TCP, 8, 16, false, &whole[16..])));
        frames
    }),
    form("tagged", Probe(SYN), |wire| {
        let whole = syn(wire, V4);
        let piece = |start: usize, end: usize| {
            let more = end < whole.len();
            let packet = wire.between.fragment(V4, TCP, 7, start, more, &whole[start..end]);
            wire.frame(0x8100, &tag(0x0800, &packet))
        };
        vec![piece(0, 8), piece(8, 40)]
    }),
];
