//! Reads any bytes as a sequence of frames for one decoder and an engine: of any link
//! type, cut anywhere, at any time.
//!
//! Each frame follows five bytes: link type and the kernel's state of the checksum, number
//! of bytes cut off, seconds since the previous frame, and the length, high byte first.
#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use portsentry_capture::{
    ChecksumState, Decoder, Frame, LinkType, Rejected, Tally, decode, martian_source,
};
use portsentry_core::{Engine, HashKey, Instant, Limits, Policy, PortSet, Reason, Timestamp};

const LINKS: [LinkType; 5] = [
    LinkType::Ethernet,
    LinkType::RawIp,
    LinkType::BsdLoopback,
    LinkType::LinuxSll,
    LinkType::LinuxSll2,
];

const CHECKSUMS: [ChecksumState; 3] =
    [ChecksumState::Unknown, ChecksumState::Valid, ChecksumState::NotReady];

fn engine(key: u128) -> Engine {
    let ports = || (1..=1_024).collect::<PortSet>();
    let policy =
        Policy { tcp_ports: ports(), udp_ports: ports(), scan_trigger: 2, ..Policy::default() };
    let mut limits = Limits::default();
    // Small tables, so that a short input can fill them.
    (limits.sources, limits.served_lines) = (64, 16);
    Engine::new(policy, &limits, HashKey::new(key))
}

fuzz_target!(|input: &[u8]| {
    let (mut decoder, mut tally) = (Decoder::new(), Tally::default());
    let mut engines = [engine(0), engine(!0)];
    let (mut now, mut frames, mut decoded) = (1, 0, 0);
    let mut rest = input;
    while let Some(([kind, cut, wait, high, low], tail)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(tail.len());
        let (whole, tail) = tail.split_at(length);
        rest = tail;
        now += u64::from(*wait);
        frames += 1;

        let captured = &whole[..length - usize::from(*cut).min(length)];
        let link = LINKS[usize::from(kind % 5)];
        let checksum = CHECKSUMS[usize::from(kind / 5 % 3)];
        let frame = Frame::new(link, captured).with_wire_length(length).with_checksum(checksum);
        let loopback = link.marks_loopback(captured);
        let admit = |source, _| match martian_source(source, loopback) {
            true => Err(Rejected::MartianSource),
            false => Ok(()),
        };
        let found = decoder.decode(&frame, Instant::from_secs(now), admit);

        // For all frames but fragments, the decoder that reassembles agrees with the one that
        // does not. For a jumbogram, only the first knows the length of the frame, and so whether
        // the checksum covers the captured bytes.
        let alone = decode(link, captured).and_then(|packet| packet.on_wire(length));
        let is_comparable = checksum == ChecksumState::Unknown
            && captured.len() == length
            && alone != Err(Rejected::Fragment)
            && !matches!(found, Err(Rejected::TcpChecksum | Rejected::UdpChecksum));
        if is_comparable {
            let expected = alone.and_then(|packet| {
                admit(packet.source, packet.target)?;
                Ok(packet)
            });
            assert_eq!(found.ok(), expected.ok(), "{frame:?}");
        }
        match found {
            Ok(packet) => {
                decoded += 1;
                let at = Instant::default().after(Duration::from_secs(now));
                let observation = packet.observation(Timestamp::from_nanos(-1), 1).at(at);
                let [one, other] = &mut engines;
                let verdict = one.observe(&observation, at);
                assert_eq!(verdict, other.observe(&observation, at), "the key changes a verdict");
                assert_ne!(verdict.reason, Reason::Blocked);
                assert_eq!(one.poll_event(), other.poll_event());
            }
            Err(rejected) => tally.add(rejected),
        }
    }
    assert_eq!(decoded + tally.total(), frames, "each frame is counted once");
});
