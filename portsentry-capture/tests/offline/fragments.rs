//! Fragments of one datagram in a short notation, and the expected results.

use crate::frames::*;

/// Length in bytes of the fragmented UDP datagrams, with their header.
pub(crate) const LENGTH: usize = 96;

/// An IP version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

use Version::{V4, V6};

/// Source and target of a datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    pub(crate) v4: [[u8; 4]; 2],
    pub(crate) v6: [[u8; 16]; 2],
}

/// Addresses that the builders use, from the ranges for documentation.
pub(crate) const DOCUMENTATION: Between =
    Between { v4: [SOURCE_V4, TARGET_V4], v6: [v6(1), v6(2)] };

impl Between {
    /// Returns an IP packet of this version around `payload`.
    pub(crate) fn packet(&self, version: Version, protocol: u8, payload: &[u8]) -> Vec<u8> {
        match version {
            V4 => sealed(with(&ipv4(protocol, payload), 12, &self.v4.concat())),
            V6 => sealed(with(&ipv6(protocol, payload), 8, &self.v6.concat())),
        }
    }

    /// Returns one fragment of the datagram whose IP payload is `payload`: `bytes` at offset
    /// `start`.
    pub(crate) fn fragment(
        &self,
        version: Version,
        protocol: u8,
        id: u16,
        start: usize,
        more: bool,
        bytes: &[u8],
    ) -> Vec<u8> {
        let [high, low] = id.to_be_bytes();
        match version {
            V4 => {
                let place = (start / 8) as u16 | if more { 0x2000 } else { 0 };
                let length = 20 + bytes.len() as u16;
                let header = with(&ipv4(protocol, &[]), 2, &length.to_be_bytes());
                let header = with(&header, 4, &[[high, low], place.to_be_bytes()].concat());
                let header = with(&header, 12, &self.v4.concat());
                sealed([&header, bytes].concat())
            }
            V6 => {
                let header = with(&fragment(protocol, start as u16, more, &[]), 6, &[high, low]);
                self.packet(V6, FRAGMENT, &[&header, bytes].concat())
            }
        }
    }

    /// Returns a UDP datagram of [`LENGTH`] bytes without IP header, from port 40000 to
    /// `port`, with `letter` as every byte of its payload.
    pub(crate) fn datagram(&self, version: Version, port: u16, letter: u8) -> Vec<u8> {
        let datagram = with(&udp(&[letter; LENGTH - 8]), 2, &port.to_be_bytes());
        let packet = self.packet(version, UDP, &datagram);
        packet[packet.len() - LENGTH..].to_vec()
    }

    /// Returns the fragments that `script` lists. `0-16` is a fragment with these bytes. A
    /// `+` after it sets "more fragments" and a `.` clears it; without either, the position
    /// of the end decides. A `!` takes the bytes from another datagram.
    pub(crate) fn fragments(
        &self,
        version: Version,
        id: u16,
        port: u16,
        script: &str,
    ) -> Vec<Vec<u8>> {
        let [this, other] = [b'A', b'B'].map(|letter| self.datagram(version, port, letter));
        let one = |token: &str| {
            let (token, bytes) = token.strip_suffix('!').map_or((token, &this), |it| (it, &other));
            let range = token.trim_end_matches(['+', '.']);
            let (start, end) = range.split_once('-').unwrap();
            let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
            let more = token.ends_with('+') || !token.ends_with('.') && end < LENGTH;
            // Bytes after the end of the datagram are zeros.
            let bytes: Vec<u8> =
                (start..end).map(|at| bytes.get(at).copied().unwrap_or_default()).collect();
            self.fragment(version, UDP, id, start, more, &bytes)
        };
        script.split_whitespace().map(one).collect()
    }
}

/// Fragments in the notation of [`Between::fragments`], and the result of each over IPv4
/// and over IPv6: it waits or is ignored (`w`), it completes the datagram (`P`), it overlaps
/// (`O`), it has an impossible length (`L`), it lacks headers (`F`), or the datagram that it
/// completes has a wrong checksum (`C`).
pub(crate) const SCRIPTS: [(&str, &str, &str, &str); 36] = [
    ("two", "0-16 16-96", "wP", "wP"),
    ("two, the last first", "16-96 0-16", "wP", "wP"),
    ("of 8 bytes, in order", "0-8 8-16 16-24 24-96", "wwwP", "wwwP"),
    ("of 8 bytes, backwards", "24-96 16-24 8-16 0-8", "wwwP", "wwwP"),
    ("of 8 bytes, mixed", "8-16 24-96 0-8 16-24", "wwwP", "wwwP"),
    ("the first alone", "0-16", "w", "w"),
    ("the last alone", "16-96", "w", "w"),
    ("the middle missing", "0-16 24-96", "ww", "ww"),
    ("copy of the first", "0-16 0-16 16-96", "wwP", "wwP"),
    ("copy of the last", "16-96 16-96 0-16", "wwP", "wwP"),
    ("copies of all", "0-16 0-16 16-40 0-16 16-40 40-96", "wwwwwP", "wwwwwP"),
    ("copy after the end", "0-16 16-96 16-96", "wPw", "wPw"),
    ("copy with other bytes: the first remain", "0-16 0-16! 16-96", "wwP", "wwP"),
    ("other bytes first", "0-16! 0-16 16-96", "wwC", "wwC"),
    ("other bytes within one fragment", "0-16 8-16! 16-96", "wwP", "wwP"),
    ("other bytes across two in order", "0-8 8-16 0-16! 16-96", "wwwP", "wwwP"),
    ("the same across two out of order", "0-8 16-24 8-16 0-16 24-96", "wwwOw", "wwwOw"),
    ("overlap at the end", "0-16 8-24 24-96", "wOw", "wOw"),
    ("overlap at the start", "8-24 0-16 24-96", "wOw", "wOw"),
    ("overlap around", "8-16 0-24 24-96", "wOw", "wOw"),
    ("overlap with the last", "16-96 8-24 0-8", "wOw", "wOw"),
    ("all fragments again after an overlap", "0-16 8-24 0-16 16-96", "wOwP", "wOwP"),
    ("teardrop: the last within the first", "0-40 24-32.", "wL", "wL"),
    ("Paxson and Shankar's", "0-24 32-48 48-72 8-40 48-72 72-96", "wwwOww", "wwwOww"),
    ("two ends", "0-16 32-96 24-32.", "wwL", "wwL"),
    ("two ends, the longer second", "24-32. 32-96", "wL", "wL"),
    ("beyond the end", "16-96 96-104+", "wL", "wL"),
    ("the end before received bytes", "40-48+ 24-32.", "wL", "wL"),
    ("no bytes", "0-16 16-16+ 16-96", "wLw", "wLw"),
    ("no bytes, last", "0-96+ 96-96.", "wL", "wL"),
    ("21 bytes and more: cut to 16", "0-21+ 16-96", "wP", "Lw"),
    ("7 bytes and more", "0-8 8-15+ 8-16 16-96", "wLww", "wLwP"),
    ("first of 7 bytes", "0-7+ 0-8 8-96", "LwP", "FwP"),
    ("beyond 65,535", "65528-65544+ 0-16 16-96", "wwL", "LwP"),
    ("beyond 65,535, last", "65528-65544. 0-16 16-96", "wwL", "LwP"),
    ("two datagrams with one identification", "0-16 16-96 0-16! 16-96!", "wPwP", "wPwP"),
];

/// Kinds and lengths in bytes of IPv6 extension headers.
pub(crate) type Chain = &'static [(u8, usize)];

/// Extension headers between the fragment header and UDP, the length of the first
/// fragment, and whether the decoder accepts it (RFC 7112 section 5, and as Linux does).
pub(crate) const CHAINS: [(Chain, usize, bool); 15] = [
    (&[], 8, true),
    (&[(DESTINATION, 16)], 8, false),
    (&[(DESTINATION, 16)], 16, false),
    (&[(DESTINATION, 16)], 24, true),
    (&[(ROUTING, 8)], 8, false),
    (&[(ROUTING, 8)], 16, true),
    (&[(DESTINATION, 16), (DESTINATION, 16)], 8, true),
    (&[(DESTINATION, 16), (DESTINATION, 16)], 16, true),
    (&[(DESTINATION, 16), (DESTINATION, 16)], 24, false),
    (&[(DESTINATION, 16), (DESTINATION, 16)], 32, false),
    (&[(DESTINATION, 16), (DESTINATION, 16)], 40, true),
    (&[(ROUTING, 8), (DESTINATION, 8)], 8, true),
    (&[(DESTINATION, 808)], 800, false),
    (&[(DESTINATION, 808)], 816, true),
    (&[(DESTINATION, 1000), (ROUTING, 8), (DESTINATION, 808)], 1000, true),
];

/// Returns the two fragments of a row of [`CHAINS`].
pub(crate) fn chain_fragments(
    between: &Between,
    id: u16,
    port: u16,
    chain: Chain,
    first: usize,
) -> [Vec<u8>; 2] {
    let start = (UDP, between.datagram(V6, port, b'A'));
    let (protocol, bytes) = chain.iter().rev().fold(start, |(next, rest), (kind, length)| {
        let header = match *kind {
            ROUTING => routing(next, 0, &[]),
            _ => skippable_options(next, *length),
        };
        (*kind, [header, rest].concat())
    });
    [
        between.fragment(V6, protocol, id, 0, true, &bytes[..first]),
        between.fragment(V6, protocol, id, first, false, &bytes[first..]),
    ]
}

/// Returns destination options of `length` bytes: one unknown option with the bits for
/// "skip" (RFC 8200 section 4.2), because Linux rejects long padding.
pub(crate) fn skippable_options(next: u8, length: usize) -> Vec<u8> {
    let mut header = vec![next, (length / 8 - 1) as u8];
    while header.len() < length {
        let option = (length - header.len()).min(250);
        header.extend([0x1e, option as u8 - 2]);
        header.resize(header.len() + option - 2, 0);
    }
    header
}
