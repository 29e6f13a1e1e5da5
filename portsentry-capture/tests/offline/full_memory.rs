//! Reassembly with full memory, and packets of incomplete datagrams that the host may have
//! completed.

use std::path::Path;

use portsentry_capture::{Decoder, FragmentLimits, Frame, LinkType, Packet, Rejected};
use portsentry_core::{Evidence, Instant, TcpFlags};

use crate::fragments::Version::{self, V4, V6};
use crate::fragments::*;
use crate::frames::*;

/// A decoder of raw IP packets, with its clock.
struct Reader {
    decoder: Decoder,
    now: Instant,
}

impl Reader {
    fn new() -> Self {
        Self { decoder: Decoder::new(), now: Instant::from_secs(1_000) }
    }

    fn with(limits: FragmentLimits) -> Self {
        let mut new = Self::new();
        new.decoder.set_fragment_limits(&limits);
        new
    }

    fn read(&mut self, packet: &[u8]) -> Result<Packet, Rejected> {
        self.decoder.decode(&Frame::new(LinkType::RawIp, packet), self.now, |_, _| Ok(()))
    }

    /// Stores incomplete datagrams until the first is refused. Returns the number of stored ones.
    fn fill(&mut self, version: Version) -> u32 {
        let before = self.decoder.stats().refused;
        (0..)
            .find(|source| {
                self.read(&datagram(version, *source, "16-96")).unwrap_err();
                self.decoder.stats().refused > before
            })
            .unwrap_or_default()
    }

    fn wait(&mut self, seconds: u64) {
        self.now = Instant::from_nanos(self.now.as_nanos() + seconds * 1_000_000_000);
    }

    /// Returns the target ports of the unfinished packets.
    fn unfinished(&mut self) -> Vec<u16> {
        self.decoder.expire(self.now);
        std::iter::from_fn(|| self.decoder.unfinished()).map(|packet| packet.target_port).collect()
    }
}

fn between(source: u32) -> Between {
    let mut between = DOCUMENTATION;
    between.v4[0] = (0x0a00_0000 + source).to_be_bytes();
    between.v6[0][12..].copy_from_slice(&source.to_be_bytes());
    between
}

/// Returns a fragment of a datagram of this source.
fn datagram(version: Version, source: u32, script: &str) -> Vec<u8> {
    between(source).fragments(version, 7, 53, script).remove(0)
}

/// Returns the first bytes of a SYN in a fragment.
fn part_of_syn(version: Version, length: usize) -> Vec<u8> {
    let segment = [tcp(2), vec![0; 20]].concat();
    DOCUMENTATION.fragment(version, TCP, 7, 0, true, &segment[..length])
}

#[test]
fn new_datagrams_are_refused_while_the_memory_is_full() {
    for version in [V4, V6] {
        let mut reader = Reader::new();
        let held = reader.fill(version);
        // Linux can hold fewer of the smallest datagrams.
        assert!((5_500..12_000).contains(&held), "{version:?}: {held} held");
        for source in 20_000..30_000 {
            reader.read(&datagram(version, source, "16-96")).unwrap_err();
        }
        assert_eq!(reader.decoder.stats().refused, 10_001);
        // Those that are stored are not affected.
        for source in [0, held / 2, held - 1] {
            assert!(
                reader.read(&datagram(version, source, "0-16")).is_ok(),
                "{version:?}: {source}"
            );
        }
        assert_eq!(reader.decoder.stats().completed, 3);
        // The memory has room for these again.
        for source in [40_000, 40_001] {
            assert_eq!(reader.read(&datagram(version, source, "0-16")), Err(Rejected::Fragment));
            assert!(
                reader.read(&datagram(version, source, "16-96")).is_ok(),
                "{version:?}: {source}"
            );
        }
        assert_eq!(reader.unfinished(), [0_u16; 0]);
        reader.wait(3_600);
        reader.decoder.expire(reader.now);
        assert_eq!(reader.decoder.stats().expired, u64::from(held) - 3, "all others expire");
        assert_eq!(reader.unfinished(), [0_u16; 0]);
    }
}

#[test]
fn refused_first_fragments_are_handed_out_once() {
    for version in [V4, V6] {
        let mut reader = Reader::new();
        reader.fill(version);
        assert_eq!(reader.read(&datagram(version, 50_000, "0-16")), Err(Rejected::Fragment));
        assert_eq!(reader.unfinished(), [53], "{version:?}");
        assert_eq!(reader.read(&datagram(version, 50_000, "16-96")), Err(Rejected::Fragment));
        assert_eq!(reader.unfinished(), [0_u16; 0], "{version:?}");
        // A fragment without headers.
        assert_eq!(reader.read(&datagram(version, 50_001, "16-96")), Err(Rejected::Fragment));
        reader.wait(3_600);
        assert_eq!(reader.unfinished(), [0_u16; 0], "{version:?}");
        assert_eq!(reader.decoder.stats().unfinished, 1);
    }
}

#[test]
fn datagrams_that_grow_while_the_memory_is_full_are_handed_out() {
    for version in [V4, V6] {
        let mut reader = Reader::new();
        let growing = 100_000..100_030;
        for source in growing.clone() {
            reader.read(&datagram(version, source, "0-16")).unwrap_err();
        }
        reader.fill(version);
        for source in growing.clone() {
            for start in (1_600..60_000).step_by(1_600) {
                let piece = between(source).fragment(version, UDP, 7, start, true, &[0; 1_400]);
                reader.read(&piece).unwrap_err();
            }
        }
        let stats = reader.decoder.stats();
        assert!((5..30).contains(&stats.unfinished), "{version:?}: {stats:?}");
        assert!(stats.evicted >= stats.unfinished, "{version:?}: {stats:?}");
        assert_eq!(reader.unfinished().len() as u64, stats.unfinished);
        assert!(reader.read(&datagram(version, 0, "0-16")).is_ok(), "others remain");
    }
}

#[test]
fn only_the_fragments_of_the_same_source_count_for_the_distance() {
    let mut reader = Reader::new();
    let [first, last] = ["0-16", "16-96"].map(|script| datagram(V4, 0, script));
    reader.read(&first).unwrap_err();
    for source in 1..=45_000 {
        reader.read(&datagram(V4, source, "0-16")).unwrap_err();
        assert!(reader.read(&datagram(V4, source, "16-96")).is_ok());
    }
    assert!(reader.read(&last).is_ok());
    // A datagram that the kernel may have restarted is handed out.
    reader.read(&first).unwrap_err();
    for id in 0..65 {
        let other = DOCUMENTATION.fragment(V4, 1, id, 0, true, &[0; 8]);
        let other = sealed(with(&other, 12, &[10, 0, 0, 0]));
        assert_eq!(reader.read(&other), Err(Rejected::OtherTransport));
    }
    assert_eq!(reader.unfinished(), [0_u16; 0]);
    assert_eq!(reader.read(&last), Err(Rejected::Fragment));
    assert_eq!(reader.unfinished(), [53]);
    // Without a limit.
    let mut reader = Reader::with(FragmentLimits::default().with_max_distance(0));
    reader.read(&first).unwrap_err();
    for id in 0..1_000 {
        let other = sealed(with(&datagram(V4, 0, "0-16"), 4, &(100_u16 + id).to_be_bytes()));
        reader.read(&other).unwrap_err();
    }
    assert!(reader.read(&last).is_ok());
}

#[test]
fn expired_segments_are_handed_out_and_expired_datagrams_are_not() {
    for (version, seconds) in [(V4, 34), (V6, 68)] {
        let mut reader = Reader::new();
        reader.read(&part_of_syn(version, 24)).unwrap_err();
        reader.read(&datagram(version, 5, "0-16")).unwrap_err();
        reader.wait(seconds - 1);
        assert_eq!(reader.unfinished(), [0_u16; 0], "{version:?}");
        reader.wait(1);
        // The reply to a query that is forgotten by now would be taken for a probe.
        assert_eq!(reader.unfinished(), [23], "{version:?}");
        assert_eq!(reader.decoder.stats().expired, 2);
    }
}

#[test]
fn limits_of_the_kernel_are_used_within_bounds() {
    let limits = FragmentLimits::default().with_lifetimes(2, 3).with_memory(8 << 20, 16 << 20);
    let mut reader = Reader::with(limits);
    let usual = Reader::new().fill(V4);
    assert!((2 * usual - 10..2 * usual + 10).contains(&reader.fill(V4)));
    assert!((4 * usual - 10..4 * usual + 10).contains(&reader.fill(V6)));
    reader.wait(3);
    reader.decoder.expire(reader.now);
    assert!((2 * usual - 10..2 * usual + 10).contains(&(reader.decoder.stats().expired as u32)));

    let least = FragmentLimits::default().with_lifetimes(0, 0).with_memory(0, 0);
    assert_eq!((least.lifetime_v4.as_secs(), least.memory_v6), (1, 4 << 20));
    let most = FragmentLimits::default().with_lifetimes(u64::MAX, 9).with_memory(1, u64::MAX);
    assert_eq!((most.lifetime_v4.as_secs(), most.memory_v6), (3_600, 16 << 20));
}

#[test]
fn settings_of_the_kernel_are_read() {
    let limits = |texts: [&str; 5]| {
        FragmentLimits::of_kernel(|path| {
            let names = [
                "ipv4/ipfrag_time",
                "ipv6/ip6frag_time",
                "ipv4/ipfrag_high_thresh",
                "ipv6/ip6frag_high_thresh",
                "ipv4/ipfrag_max_dist",
            ];
            let name = path.strip_prefix("/proc/sys/net").expect("a setting of the network");
            let at = names.iter().position(|it| name == Path::new(it)).expect("a known setting");
            (!texts[at].is_empty()).then(|| texts[at].into())
        })
    };
    let default = FragmentLimits::default();
    assert_eq!(limits([""; 5]), default, "missing files");
    assert_eq!(limits(["30\n", "60\n", "4194304\n", "4194304\n", "64\n"]), default);
    assert_eq!(
        limits(["10", "20", "8388608", "16777216", "0"]),
        default.with_lifetimes(10, 20).with_memory(8 << 20, 16 << 20).with_max_distance(0)
    );
    let most = default.with_lifetimes(3_600, 3_600).with_memory(16 << 20, 16 << 20);
    let huge = "9".repeat(30);
    assert_eq!(limits([&huge, &huge, &huge, &huge, "64"]), most);
    let least = default.with_lifetimes(1, 1).with_memory(4 << 20, 4 << 20).with_max_distance(0);
    assert_eq!(limits(["-1", "-1", "-1", "-1", "-1"]), least);
    let invalid = "9".repeat(100);
    assert_eq!(limits(["x", "1 2", &invalid, "\u{661}", "0x10"]), default);
}

#[test]
fn flags_are_those_of_the_fragments_so_far() {
    for (length, flags) in [(8, TcpFlags::from_bits(0)), (16, TcpFlags::SYN), (24, TcpFlags::SYN)] {
        let mut reader = Reader::new();
        reader.read(&part_of_syn(V4, length)).unwrap_err();
        reader.wait(60);
        reader.decoder.expire(reader.now);
        let packet = reader.decoder.unfinished().expect("a packet");
        let Evidence::Segment(segment) = packet.evidence else { panic!("{packet:?}") };
        assert_eq!((packet.target_port, segment.flags), (23, flags), "{length}");
        assert_eq!(packet.wire_length, 20 + length);
    }
}
