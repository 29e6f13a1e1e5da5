//! Compares the decoder with the model that reassembles byte by byte, on any fragments of
//! one datagram, and on the packet of a datagram that expires.
//!
//! The first byte chooses the IP version. Each fragment is five bytes: protocol, offset in
//! units of 8 bytes, flags, length, and the position of its bytes in the datagram, which
//! is the rest of the input.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portsentry_capture::{Decoder, Frame, LinkType};
use portsentry_core::Instant;

use fragments::DOCUMENTATION;
use fragments::Version::{V4, V6};
use frames::*;
use model::{Model, Piece};

#[path = "../offline/fragments.rs"]
#[allow(dead_code, reason = "the tests use the other builders")]
mod fragments;
#[path = "../offline/frames.rs"]
#[allow(dead_code, reason = "the tests use the other builders")]
mod frames;
#[path = "../offline/model.rs"]
mod model;

const PROTOCOLS: [u8; 8] =
    [TCP, UDP, AUTHENTICATION, DESTINATION, ROUTING, HOP_BY_HOP, FRAGMENT, 58];

/// Highest number of fragments that are read from an input.
const FRAGMENTS: usize = 24;

fuzz_target!(|input: &[u8]| {
    let Some(([choice, count], rest)) = input.split_first_chunk() else { return };
    let version = if choice & 1 == 0 { V4 } else { V6 };
    let count = usize::from(*count) % FRAGMENTS;
    let Some((orders, datagram)) = rest.split_at_checked(5 * count) else { return };

    let mut decoder = Decoder::new();
    let mut model = Model::new(version == V6);
    for order in orders.chunks_exact(5) {
        let [protocol, unit, flags, length, from] = *order else { return };
        let protocol = PROTOCOLS[usize::from(protocol) % PROTOCOLS.len()];
        // Offsets reach the highest addressable bytes as well.
        let unit = usize::from(unit) + if flags & 2 == 0 { 0 } else { 8191 - 255 };
        let start = 8 * unit;
        let more = flags & 1 == 1;
        // A packet at offset 0 without more fragments is not a fragment. Over IPv4, a
        // datagram has one protocol, and only TCP, UDP and AH are reassembled.
        let protocol =
            if version == V4 { PROTOCOLS[usize::from(choice >> 1) % 3] } else { protocol };
        if start == 0 && !more {
            continue;
        }
        let source = if flags & 4 == 0 { start } else { 8 * usize::from(from) };
        let bytes = (source..source + usize::from(length))
            .map(|at| datagram.get(at).copied().unwrap_or_default())
            .collect();
        let piece = Piece { protocol, start, more, bytes };

        let packet = DOCUMENTATION.fragment(version, protocol, 0xabcd, start, more, &piece.bytes);
        let frame = Frame::new(LinkType::RawIp, &packet);
        let seen = decoder.decode(&frame, Instant::from_secs(1), |_, _| Ok(()));
        assert_eq!(seen.ok(), model.add(&piece), "{piece:?}");
        assert_eq!(decoder.unfinished(), None, "neither memory nor distance is exhausted");
    }
    // A segment that never completes is handed out once.
    decoder.expire(Instant::from_secs(3_600));
    let port = decoder.unfinished().map(|packet| packet.target_port);
    if let Some(expected) = model.expired_port() {
        assert_eq!(port, expected);
    }
    assert_eq!(decoder.unfinished(), None);
});
