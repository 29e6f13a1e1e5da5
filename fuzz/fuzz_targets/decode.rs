//! Decodes any bytes as a frame of any link type. The first byte chooses the link type,
//! and whether checksums are corrected first: otherwise nearly all would be wrong.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portsentry_capture::{LinkType, Rejected, decode, martian_source};

#[path = "../offline/frames.rs"]
#[allow(dead_code, reason = "the tests use the other builders")]
mod frames;
#[path = "../offline/oracle.rs"]
mod oracle;

const LINKS: [LinkType; 5] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::BsdLoopback,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
];

fuzz_target!(|input: &[u8]| {
    let Some((choice, frame)) = input.split_first() else { return };
    let link = LINKS[usize::from(*choice & 0x7f) % LINKS.len()];
    let mut frame = frame.to_vec();
    if *choice & 0x80 != 0 {
        let header = match link {
            LinkType::Ethernet => 14,
            LinkType::RawIp => 0,
            LinkType::BsdLoopback => 4,
            LinkType::LinuxSll => 16,
            LinkType::LinuxSll2 => 20,
            other => panic!("link header of {other:?}"),
        };
        let packet = frame.split_off(header.min(frame.len()));
        frame.extend(frames::sealed(packet));
    }
    let frame = &frame[..];

    assert_eq!(oracle::ours(link, frame), oracle::theirs(link, frame), "the decoders differ");

    let Ok(packet) = decode(link, frame) else { return };
    assert_eq!(packet.on_wire(packet.wire_length), Ok(packet));
    assert_eq!(packet.on_wire(packet.wire_length - 1), Err(Rejected::ShortFrame));

    // The bytes after the packet do not change the result.
    let end = packet.wire_length.min(frame.len());
    assert_eq!(decode(link, &frame[..end]), Ok(packet), "padding");

    // A frame that is cut decodes to the same packet or to none.
    for length in 0..end {
        if let Ok(cut) = decode(link, &frame[..length]) {
            assert_eq!(cut.with_wire_length(packet.wire_length), packet, "cut");
        }
    }

    // A source that is possible from outside is also possible on loopback.
    assert!(
        martian_source(packet.source, false) || !martian_source(packet.source, true),
        "{}",
        packet.source
    );
});
