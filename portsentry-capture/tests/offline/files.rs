//! Reading of capture files that are written byte by byte.

use std::io::{self, Read};
use std::net::IpAddr;

use portsentry_capture::{
    CaptureFile, Drained, Rejected, Sensor, SensorError, SensorStats, Tally, Targets,
};
use portsentry_core::Observation;
use proptest::prelude::*;

use crate::formats::Order::{Big, Little};
use crate::formats::*;
use crate::frames::*;

/// All observations of a file, its counters, and the error that ended the reading.
struct Outcome {
    seen: Vec<Observation>,
    stats: SensorStats,
    error: Option<SensorError>,
}

fn read(file: &[u8], targets: Targets, budget: usize) -> Outcome {
    let mut seen = Vec::new();
    let mut file = match CaptureFile::from_reader("test.pcap", file) {
        Ok(file) => file.watching(targets),
        Err(error) => return Outcome { seen, stats: SensorStats::default(), error: Some(error) },
    };
    let error = loop {
        let before = seen.len();
        match file.drain(budget, &mut |observation| seen.push(*observation)) {
            Ok(Drained::More) => assert!(seen.len() - before <= budget),
            Ok(Drained::End) => break None,
            Ok(other) => panic!("a file is never {other:?}"),
            Err(error) => break Some(error),
        }
    };
    assert_eq!(file.drain(1, &mut |_| panic!("ended")).unwrap(), Drained::End);
    Outcome { seen, stats: file.stats(), error }
}

/// Returns the time of a packet in nanoseconds since the epoch.
fn seconds(fraction: i64) -> i64 {
    i64::from(SECONDS) * 1_000_000_000 + fraction
}

/// Checks target port and time of each packet of an undamaged file.
fn check(what: &str, file: &[u8], expected: &[(u16, i64)]) {
    let outcome = read(file, Targets::all(), 2);
    assert!(outcome.error.is_none(), "{what}: {:?}", outcome.error);
    let seen: Vec<_> =
        outcome.seen.iter().map(|seen| (seen.target_port, seen.time.as_nanos())).collect();
    assert_eq!(seen, expected, "{what}");
    assert_eq!(outcome.stats.received, expected.len() as u64, "{what}");
}

fn syn() -> Vec<u8> {
    ethernet(0x0800, &ipv4(TCP, &tcp(2)))
}

fn query() -> Vec<u8> {
    ethernet(0x86dd, &ipv6(UDP, &udp(b"who")))
}

#[test]
fn every_kind_of_pcap_is_read() {
    for order in [Little, Big] {
        for (magic, unit) in [(MICROS, 1000), (NANOS, 1)] {
            let file = [
                order.pcap_header(magic, 1),
                order.pcap_record(250_000, 54, &syn()),
                order.pcap_record(999_999, 0, &query()),
            ];
            let what = format!("{order:?} {magic:x}");
            check(
                &what,
                &file.concat(),
                &[(23, seconds(250_000 * unit)), (53, seconds(999_999 * unit))],
            );
        }
    }
    // Kuznetsov's format: the header of a record has eight bytes more.
    let record = Little.pcap_record(7, 54, &syn());
    let record = [&record[..16], &[0; 8], &record[16..]].concat();
    check(
        "modified",
        &[Little.pcap_header(0xa1b2_cd34, 1), record.repeat(2)].concat(),
        &[(23, seconds(7000)), (23, seconds(7000))],
    );
    // The bits above the link type contain the length of the frame check sequence.
    let file = [Little.pcap_header(MICROS, 0x2400_0001), Little.pcap_record(0, 58, &syn())];
    check("frame check sequence", &file.concat(), &[(23, seconds(0))]);
    check("no packet", &Little.pcap_header(MICROS, 276), &[]);
}

#[test]
fn every_kind_of_pcapng_is_read() {
    let micros = u64::from(SECONDS) * 1_000_000;
    for order in [Little, Big] {
        let offset = match order {
            Little => 100i64.to_le_bytes(),
            Big => 100i64.to_be_bytes(),
        };
        let cooked = sll2(1, 0x0800, &ipv4(TCP, &tcp(2)));
        let file = [
            order.section(),
            order.interface(1, 262_144, &[order.option(2, b"eth0"), order.option(0, b"")]),
            order.interface(101, 0, &[order.option(9, &[9])]),
            order.block(0x0000_0bad, b"an unknown kind of block"),
            order.interface(276, 0, &[order.option(9, &[0x80 | 20]), order.option(14, &offset)]),
            order.packet(0, micros + 5, 54, &syn()),
            order.block(5, &order.u32s(&[0, 0, 0])),
            order.packet(1, u64::from(SECONDS) * 1_000_000_000 + 7, 40, &ipv4(TCP, &tcp(2))),
            order.packet(2, u64::from(SECONDS) << 20 | 1 << 19, 60, &cooked),
            order.simple_packet(54, &syn()),
        ];
        // A simple packet has no time, so it gets that of the packet before it.
        check(
            &format!("{order:?}"),
            &file.concat(),
            &[
                (23, seconds(5_000)),
                (23, seconds(7)),
                (23, seconds(100_500_000_000)),
                (23, seconds(100_500_000_000)),
            ],
        );
    }
    // Sections of different byte order, each with its own interfaces.
    let raw = ipv6(UDP, &udp(&[]));
    let file = [
        Little.section(),
        Little.interface(1, 0, &[]),
        Little.packet(0, micros, 54, &syn()),
        Big.section(),
        Big.interface(101, 0, &[]),
        Big.packet(0, micros, 48, &raw),
    ];
    check("two sections", &file.concat(), &[(23, seconds(0)), (53, seconds(0))]);
    // A simple packet is cut to the snapshot length of the interface.
    let cut = &syn()[..53];
    let file = [Little.section(), Little.interface(1, 53, &[]), Little.simple_packet(54, cut)];
    let outcome = read(&file.concat(), Targets::all(), 9);
    assert_eq!(outcome.stats.tally.count(Rejected::Truncated), 1);
}

#[test]
fn packets_without_an_observation_are_counted() {
    let from = |source: &[u8]| ethernet(0x0800, &sealed(with(&ipv4(TCP, &tcp(2)), 12, source)));
    let to = |target: &[u8]| ethernet(0x0800, &sealed(with(&ipv4(TCP, &tcp(2)), 16, target)));
    let on_loopback = |frame: &[u8]| with(frame, 0, &[0; 12]);
    let longer = ethernet(0x0800, &sealed(with(&ipv4(TCP, &tcp(2)), 2, &[0, 41])));
    let frames = [
        (syn(), 54, None),
        (syn(), 53, None),
        (syn()[..53].to_vec(), 54, Some(Rejected::Truncated)),
        (syn()[..53].to_vec(), 53, Some(Rejected::ShortFrame)),
        (longer, 54, Some(Rejected::ShortFrame)),
        (ethernet(0x0806, &[0; 46]), 60, Some(Rejected::NotIp)),
        (to(&[198, 51, 100, 8]), 54, Some(Rejected::NotForThisHost)),
        (to(&[255; 4]), 54, Some(Rejected::NotForThisHost)),
        (from(&[127, 0, 0, 1]), 54, Some(Rejected::MartianSource)),
        (on_loopback(&from(&[127, 0, 0, 1])), 54, None),
        (from(&[224, 0, 0, 1]), 54, Some(Rejected::MartianSource)),
        (on_loopback(&from(&[0, 0, 0, 0])), 54, Some(Rejected::MartianSource)),
    ];
    let mut file = Little.pcap_header(MICROS, 1);
    let mut tally = Tally::default();
    for (frame, wire_length, rejected) in &frames {
        file.extend(Little.pcap_record(0, *wire_length, frame));
        if let Some(kind) = rejected {
            tally.add(*kind);
        }
    }
    let target = IpAddr::from(TARGET_V4);
    let outcome = read(&file, Targets::within([target.into()]), 3);
    assert!(outcome.error.is_none());
    assert_eq!(outcome.stats.tally, tally);
    assert_eq!(outcome.stats.received, frames.len() as u64);
    assert_eq!(outcome.seen.len() as u64, outcome.stats.received - tally.total());
    assert!(outcome.seen.iter().all(|seen| seen.target == target));

    let file = [
        Little.section(),
        Little.interface(105, 0, &[]),
        Little.interface(1, 0, &[]),
        Little.packet(0, 0, 54, &syn()),
        Little.packet(1, 0, 54, &syn()),
    ];
    let outcome = read(&file.concat(), Targets::all(), 9);
    assert_eq!(outcome.stats.tally.to_string(), "1 unknown link type");
    assert_eq!(outcome.seen.len(), 1);
}

#[test]
fn files_of_other_formats_are_rejected() {
    let pcapng = Little.section();
    let table = [
        (vec![], "test.pcap: not a capture file (expected pcap or pcapng)"),
        (b"#!/bin/sh\necho this is a script\n".to_vec(), {
            "test.pcap: not a capture file (expected pcap or pcapng)"
        }),
        (with(&pcapng, 8, &[9]), "test.pcap: not a capture file (expected pcap or pcapng)"),
        (Little.pcap_header(MICROS, 1)[..23].to_vec(), {
            "test.pcap: cut off after 0 packets, at byte 0"
        }),
        (Big.pcap_header(MICROS, 105), {
            "test.pcap: link type 105 is not supported; supported are Ethernet, raw IP, \
             BSD loopback and Linux cooked captures"
        }),
    ];
    for (file, message) in table {
        let error = read(&file, Targets::all(), 1).error.unwrap();
        assert_eq!(error.to_string(), message);
    }
    let error = CaptureFile::open("/nonexistent/a.pcap").unwrap_err();
    assert!(matches!(&error, SensorError::Io { .. }));
    assert!(error.to_string().starts_with("/nonexistent/a.pcap: "), "{error}");
    assert!(matches!(CaptureFile::open("/"), Err(SensorError::Io { .. })));
}

#[test]
fn damage_is_reported_after_the_readable_packets() {
    let good = [Little.pcap_header(MICROS, 1), Little.pcap_record(0, 54, &syn())].concat();
    let huge = Little.u32s(&[SECONDS, 0, 0x7fff_fff0, 54]);
    let section = [Little.section(), Little.interface(1, 0, &[])].concat();
    let good_ng = [&section[..], &Little.packet(0, 0, 54, &syn())].concat();
    let packet = Little.packet(0, 0, 54, &syn());
    let with_length = |length: u32| with(&packet, 4, &length.to_le_bytes());
    let table = [
        (&good, huge, "a packet is longer than the maximum of 1 MiB"),
        (&good_ng, with_length(8), "impossible block length"),
        (&good_ng, with_length(90), "impossible block length"),
        (&good_ng, with_length(0x7fff_fff0), "a block is longer than the maximum of 1 MiB"),
        (&good_ng, with(&packet, packet.len() - 4, &[9]), "the two lengths of a block differ"),
        (&good_ng, with(&packet, 20, &[200]), "unreadable block"),
        (&good_ng, with(&packet, 20, &[0xff; 4]), "unreadable block"),
        (&good_ng, Little.simple_packet(60, &syn()), "a packet is longer than its block"),
        (&good_ng, Little.packet(1, 0, 54, &syn()), {
            "packet of an interface without a description"
        }),
        (&good_ng, Little.block(2, &packet), "obsolete packet blocks are not supported"),
        (&good_ng, with(&Little.section(), 8, &[0]), "section without a byte order"),
        (&good_ng, with(&Little.section(), 12, &[2]), "unknown version of the format"),
        (&good_ng, Little.interface(1, 0, &[]).repeat(1 << 16), "too many interfaces"),
    ];
    for (good, damage, reason) in table {
        let outcome = read(&[&good[..], &damage].concat(), Targets::all(), 1000);
        assert_eq!(outcome.seen.len(), 1, "{reason}");
        let at = if reason == "too many interfaces" {
            good.len() + Little.interface(1, 0, &[]).len() * ((1 << 16) - 1)
        } else {
            good.len()
        };
        assert_eq!(
            outcome.error.unwrap().to_string(),
            format!("test.pcap: damaged after 1 packets, at byte {at}: {reason}"),
        );
    }
}

#[test]
fn a_cut_file_yields_all_complete_packets() {
    let files = [
        vec![Little.pcap_header(MICROS, 1), Little.pcap_record(0, 54, &syn())],
        vec![Big.section(), Big.interface(1, 0, &[]), Big.packet(0, 0, 54, &syn())],
    ];
    for mut parts in files {
        let packet = parts.pop().unwrap();
        let head = parts.concat().len();
        parts.extend(vec![packet.clone(); 3]);
        let file = parts.concat();
        // The offset of each part, and the end of the last.
        let starts: Vec<_> = (0..=parts.len()).map(|count| parts[..count].concat().len()).collect();
        for length in parts[0].len()..=file.len() {
            let outcome = read(&file[..length], Targets::all(), 2);
            let whole = length.saturating_sub(head) / packet.len();
            assert_eq!(outcome.seen.len(), whole, "{length}");
            let start = starts.iter().copied().filter(|start| *start <= length).max().unwrap();
            let expected = (start < length)
                .then(|| format!("test.pcap: cut off after {whole} packets, at byte {start}"));
            assert_eq!(outcome.error.map(|error| error.to_string()), expected, "{length}");
        }
    }
}

#[test]
fn a_long_block_without_packets_is_skipped() {
    let long = Little.block(10, &vec![0; 3 << 20]);
    let section = [Little.section(), Little.interface(1, 0, &[])].concat();
    let packet = Little.packet(0, 0, 54, &syn());
    check("long", &[&section[..], &long, &packet].concat(), &[(23, 0)]);

    let cut = [&section[..], &packet, &long[..2 << 20]].concat();
    let outcome = read(&cut, Targets::all(), 9);
    let at = section.len() + packet.len();
    assert_eq!(
        outcome.error.unwrap().to_string(),
        format!("test.pcap: cut off after 1 packets, at byte {at}")
    );
}

#[test]
fn the_largest_packet_fits() {
    let long = ipv4(TCP, &[tcp(2), vec![0; 30_000]].concat());
    let frame = [ethernet(0x0800, &long), vec![0; (1 << 20) - 14 - long.len()]].concat();
    let file = [
        Little.pcap_header(MICROS, 1),
        Little.pcap_record(0, frame.len(), &frame).repeat(2),
        Little.pcap_record(0, 54, &syn()),
    ];
    check("largest", &file.concat(), &[(23, seconds(0)); 3]);
}

/// A reader that fails after the last byte.
struct Failing<'a>(&'a [u8]);

impl Read for Failing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 => Err(io::Error::other("input/output error")),
            length => Ok(length),
        }
    }
}

#[test]
fn a_read_error_keeps_its_message() {
    let file = [Little.pcap_header(MICROS, 1), Little.pcap_record(0, 54, &syn())].concat();
    let mut count = 0;
    let mut file = CaptureFile::from_reader("dump", Failing(&file)).unwrap();
    let error = file.drain(9, &mut |_| count += 1).unwrap_err();
    assert_eq!((count, error.to_string()), (1, "dump: input/output error".into()));
}

/// Generates the bytes of a file and overwrites a few of them.
fn damaged_file() -> impl Strategy<Value = Vec<u8>> {
    let order = prop_oneof![Just(Little), Just(Big)];
    let file = (order, any::<bool>(), 0..5usize).prop_map(|(order, is_pcapng, count)| {
        if is_pcapng {
            let options = [order.option(9, &[6]), order.option(2, b"eth0")];
            let head = [order.section(), order.interface(1, 96, &options)].concat();
            [head, order.packet(0, 7, 54, &syn()).repeat(count), order.simple_packet(54, &syn())]
                .concat()
        } else {
            let record = order.pcap_record(7, 54, &syn());
            [order.pcap_header(MICROS, 1), record.repeat(count)].concat()
        }
    });
    let writes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6);
    (file, writes).prop_map(|(mut file, writes)| {
        for (at, byte) in writes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// For any bytes there is no panic, each packet is observed or counted, and the budget
    /// makes no difference.
    #[test]
    fn damaged_files_do_not_panic(file in damaged_file(), budget in 1..5usize) {
        let outcome = read(&file, Targets::all(), budget);
        let seen = outcome.seen.len() as u64;
        prop_assert_eq!(seen + outcome.stats.tally.total(), outcome.stats.received);
        let at_once = read(&file, Targets::all(), usize::MAX);
        prop_assert_eq!(&outcome.seen, &at_once.seen);
        prop_assert_eq!(&outcome.stats, &at_once.stats);
        prop_assert_eq!(
            outcome.error.map(|error| error.to_string()),
            at_once.error.map(|error| error.to_string())
        );
    }
}
