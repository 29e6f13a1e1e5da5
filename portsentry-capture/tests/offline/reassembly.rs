//! Reassembly of fragments.

use portsentry_capture::{Decoder, Frame, LinkType, Packet, ReassemblyStats, Rejected};
use portsentry_core::{Instant, IpOptions};

use crate::fragments::Version::{V4, V6};
use crate::fragments::*;
use crate::frames::*;

const SYN: u16 = 0x002;

/// A decoder of raw IP packets, with its clock.
struct Reader {
    decoder: Decoder,
    now: Instant,
}

impl Reader {
    fn new() -> Self {
        Self { decoder: Decoder::new(), now: Instant::from_secs(1_000) }
    }

    fn read(&mut self, packet: &[u8]) -> Result<Packet, Rejected> {
        self.read_cut(packet, packet.len())
    }

    /// Decodes a packet of which the capture contains `length` bytes.
    fn read_cut(&mut self, packet: &[u8], length: usize) -> Result<Packet, Rejected> {
        let frame = Frame::new(LinkType::RawIp, &packet[..length]).with_wire_length(packet.len());
        self.decoder.decode(&frame, self.now, |_, _| Ok(()))
    }

    fn read_all(&mut self, packets: &[Vec<u8>]) -> Vec<Result<Packet, Rejected>> {
        packets.iter().map(|packet| self.read(packet)).collect()
    }

    fn wait(&mut self, millis: u64) {
        self.now = Instant::from_nanos(self.now.as_nanos() + millis * 1_000_000);
    }

    fn stats(&self) -> ReassemblyStats {
        self.decoder.stats()
    }
}

fn letter(result: &Result<Packet, Rejected>) -> char {
    match result {
        Ok(_) => 'P',
        Err(Rejected::Fragment) => 'w',
        Err(Rejected::FragmentOverlap) => 'O',
        Err(Rejected::FragmentLength) => 'L',
        Err(Rejected::FirstFragment) => 'F',
        Err(Rejected::UdpChecksum) => 'C',
        Err(_) => '?',
    }
}

#[test]
fn fragment_scripts_give_the_expected_results() {
    for (what, script, v4, v6) in SCRIPTS {
        for (version, expected) in [(V4, v4), (V6, v6)] {
            let results = Reader::new().read_all(&DOCUMENTATION.fragments(version, 7, 53, script));
            let letters: String = results.iter().map(letter).collect();
            assert_eq!(letters, expected, "{what} over {version:?}");
        }
    }
}

/// A reassembled packet equals the packet that was sent whole, except for the
/// identification: over IPv6 only fragments have one.
#[test]
fn a_reassembled_packet_equals_the_whole_packet() {
    let with_options = tcp_with_options(3);
    let query = udp(b"some bytes of a query");
    let table = [
        ("SYN", V4, TCP, tcp(SYN), 8),
        ("SYN with options", V4, TCP, with_options.clone(), 16),
        ("all TCP flags", V4, TCP, tcp(0xfff), 8),
        ("UDP", V4, UDP, query.clone(), 8),
        ("AH", V4, AUTHENTICATION, authentication(TCP, 4, &tcp(SYN)), 8),
        ("longest AH", V4, AUTHENTICATION, authentication(TCP, 255, &with_options), 8),
        ("SYN with options", V6, TCP, with_options, 24),
        ("UDP", V6, UDP, query, 8),
        ("options", V6, DESTINATION, extension(TCP, 1, &tcp(SYN)), 40),
    ];
    for (what, version, protocol, payload, first) in table {
        let whole = DOCUMENTATION.packet(version, protocol, &payload);
        // With a correct checksum.
        let payload = &whole[whole.len() - payload.len()..];
        let expected = Reader::new().read(&whole);
        assert!(expected.is_ok(), "{what} over {version:?}: {expected:?}");
        for size in [8, 16, 24, 40] {
            let mut cuts = vec![0];
            while let Some(last) = cuts.last().filter(|last| **last < payload.len()) {
                let size = if *last == 0 { size.max(first) } else { size };
                cuts.push((last + size).min(payload.len()));
            }
            let pieces: Vec<_> =
                cuts.windows(2).map(|cut| (cut[0], &payload[cut[0]..cut[1]])).collect();
            if pieces.len() < 2 {
                continue;
            }
            let fragment = |(start, bytes): &(usize, &[u8])| {
                let more = start + bytes.len() < payload.len();
                DOCUMENTATION.fragment(version, protocol, 0xabcd, *start, more, bytes)
            };
            let fragments: Vec<_> = pieces.iter().map(fragment).collect();
            let mut reader = Reader::new();
            let mut results = reader.read_all(&fragments);
            assert_eq!(results.pop(), Some(expected), "{what} by {size} over {version:?}");
            assert!(results.iter().all(|it| *it == Err(Rejected::Fragment)), "{what}: {results:?}");
            assert_eq!(reader.stats().completed, 1);
        }
    }
}

#[test]
fn headers_are_taken_from_the_first_fragment() {
    let mut fragments = DOCUMENTATION.fragments(V4, 7, 53, "16-96 0-16");
    fragments[0] = sealed(with(&fragments[0], 8, &[33]));
    let options = ipv4_with_options(2, UDP, &fragments[1][20..]);
    fragments[1] = sealed(with(&options, 4, &[0, 7, 0x20, 0]));
    let packet = Reader::new().read_all(&fragments).pop().unwrap().unwrap();
    assert_eq!((packet.ttl, packet.ip_options), (57, IpOptions::Present));
    assert_eq!((packet.ip_id, packet.wire_length), (Some(7), 28 + LENGTH));

    // Over IPv6 this includes the next header.
    let (bytes, id) = (DOCUMENTATION.datagram(V6, 53, b'A'), 7);
    let first = DOCUMENTATION.fragment(V6, UDP, id, 0, true, &bytes[..16]);
    let last = DOCUMENTATION.fragment(V6, TCP, id, 16, false, &bytes[16..]);
    for order in [[&first, &last], [&last, &first]] {
        let results = Reader::new().read_all(&order.map(Clone::clone));
        assert_eq!(results, [Err(Rejected::Fragment), Ok(over_v6(datagram_v4(40 + LENGTH)))]);
    }
}

/// Every fragment has extension headers before its fragment header. The decoder uses those
/// of the first fragment.
#[test]
fn extension_headers_of_the_first_fragment_count() {
    let bytes = DOCUMENTATION.datagram(V6, 53, b'A');
    let whole = DOCUMENTATION.packet(V6, DESTINATION, &extension(UDP, 1, &bytes));
    let behind = |units, start: usize, end: usize| {
        let piece = fragment(UDP, start as u16, end < bytes.len(), &bytes[start..end]);
        DOCUMENTATION.packet(V6, DESTINATION, &extension(FRAGMENT, units, &piece))
    };
    for fragments in [[behind(1, 0, 40), behind(9, 40, 96)], [behind(0, 40, 96), behind(1, 0, 40)]]
    {
        let results = Reader::new().read_all(&fragments);
        assert_eq!(results, [Err(Rejected::Fragment), Reader::new().read(&whole)]);
        assert!(results[1].is_ok());
    }
}

#[test]
fn other_protocols_are_not_reassembled_over_ipv4() {
    let fragment = |protocol| DOCUMENTATION.fragment(V4, protocol, 7, 0, true, &[0; 24]);
    let table = [
        (1, Rejected::OtherTransport),
        (132, Rejected::OtherTransport),
        (50, Rejected::Encrypted),
        (TCP, Rejected::Fragment),
    ];
    for (protocol, expected) in table {
        assert_eq!(Reader::new().read(&fragment(protocol)), Err(expected), "{protocol}");
    }
}

#[test]
fn first_fragments_must_contain_all_headers() {
    for (chain, first, taken) in CHAINS {
        let fragments = chain_fragments(&DOCUMENTATION, 7, 53, chain, first);
        let results = Reader::new().read_all(&fragments);
        let letters: String = results.iter().map(letter).collect();
        assert_eq!(letters, if taken { "wP" } else { "Fw" }, "{chain:?} cut at {first}");
    }
    let mut segment = tcp_with_options(2);
    for (first, taken) in [(8, false), (16, false), (24, true)] {
        segment[13] = 2;
        let whole = DOCUMENTATION.packet(V6, TCP, &segment);
        let fragments = [
            DOCUMENTATION.fragment(V6, TCP, 7, 0, true, &whole[40..40 + first]),
            DOCUMENTATION.fragment(V6, TCP, 7, first, false, &whole[40 + first..]),
        ];
        let letters: String = Reader::new().read_all(&fragments).iter().map(letter).collect();
        assert_eq!(letters, if taken { "wP" } else { "Fw" }, "TCP cut at {first}");
    }
    // A fragment header within fragments, and hop-by-hop options.
    for (protocol, inner) in [
        (FRAGMENT, fragment(UDP, 0, false, &DOCUMENTATION.datagram(V6, 53, b'A'))),
        (HOP_BY_HOP, extension(UDP, 0, &DOCUMENTATION.datagram(V6, 53, b'A'))),
    ] {
        let fragments = [
            DOCUMENTATION.fragment(V6, protocol, 7, 0, true, &inner[..24]),
            DOCUMENTATION.fragment(V6, protocol, 7, 24, false, &inner[24..]),
        ];
        let last = Reader::new().read_all(&fragments).pop().unwrap();
        assert_eq!(last, Err(Rejected::ExtensionHeader), "{protocol}");
    }
}

#[test]
fn the_greatest_length_is_accepted_and_one_more_is_not() {
    for (version, longest) in [(V4, 65_515), (V6, 65_535)] {
        for (length, expected) in [(longest, true), (longest + 1, false)] {
            let mut payload = udp(&[]);
            payload.resize(length, 0);
            let cut = 65_504;
            let fragments = [
                DOCUMENTATION.fragment(version, UDP, 7, 0, true, &payload[..cut]),
                DOCUMENTATION.fragment(version, UDP, 7, cut, false, &payload[cut..]),
            ];
            // The first datagram is valid although no IPv6 packet with a fragment header
            // is so long: the limit is the length of the payload.
            let last = Reader::new().read_all(&fragments).pop().unwrap();
            match expected {
                true => assert_ne!(last, Err(Rejected::FragmentLength), "{version:?} {length}"),
                false => assert_eq!(last, Err(Rejected::FragmentLength), "{version:?} {length}"),
            }
        }
    }
}

#[test]
fn datagrams_differ_by_addresses_protocol_and_identification() {
    let between = |v4_source: [u8; 4]| {
        let mut between = DOCUMENTATION;
        between.v4[0] = v4_source;
        between.v6[0][15] = v4_source[3];
        between
    };
    for version in [V4, V6] {
        let first = DOCUMENTATION.fragments(version, 7, 53, "0-16").remove(0);
        let id = DOCUMENTATION.fragments(version, 8, 53, "16-96").remove(0);
        let source = between([192, 0, 2, 99]).fragments(version, 7, 53, "16-96").remove(0);
        for (what, last) in [("identification", id), ("source", source)] {
            let results = Reader::new().read_all(&[first.clone(), last]);
            assert_eq!(results, [Err(Rejected::Fragment); 2], "{what} over {version:?}");
        }
    }
    let bytes = DOCUMENTATION.datagram(V4, 53, b'A');
    let first = DOCUMENTATION.fragment(V4, UDP, 7, 0, true, &bytes[..16]);
    let last = DOCUMENTATION.fragment(V4, TCP, 7, 16, false, &bytes[16..]);
    assert_eq!(Reader::new().read_all(&[first, last]), [Err(Rejected::Fragment); 2], "protocol");
}

#[test]
fn link_headers_do_not_matter() {
    for version in [V4, V6] {
        let is_v6 = version == V6;
        let fragments = DOCUMENTATION.fragments(version, 7, 53, "0-16 16-96");
        let plain = if is_v6 { 0x86dd } else { 0x0800 };
        let tagged = |ether_type, packet: &[u8]| ethernet(ether_type, packet);
        let frames = [
            tagged(0x8100, &tag(plain, &fragments[0])),
            tagged(0x88a8, &tag(0x8100, &tag(plain, &fragments[1]))),
        ];
        let mut decoder = Decoder::new();
        let results = frames.map(|captured| {
            let frame = Frame::new(LinkType::Ethernet, &captured);
            decoder.decode(&frame, Instant::from_secs(1), |_, _| Ok(()))
        });
        let [first, last] = results;
        assert_eq!(first, Err(Rejected::Fragment));
        let header = if is_v6 { 40 } else { 20 };
        assert_eq!(last.unwrap().wire_length, 18 + header + LENGTH, "{version:?}");
    }
}

#[test]
fn fragments_cut_by_the_capture_complete_a_datagram() {
    for version in [V4, V6] {
        let header = if version == V4 { 20 } else { 48 };
        let read = |first: usize, last: usize, script: &str| {
            let fragments = DOCUMENTATION.fragments(version, 7, 53, script);
            let mut reader = Reader::new();
            let _ = reader.read_cut(&fragments[0], header + first);
            letter(&reader.read_cut(&fragments[1], header + last))
        };
        assert_eq!(read(16, 0, "0-16 16-96"), 'P', "{version:?}");
        // Bytes that were not captured cannot be verified.
        assert_eq!(read(16, 0, "0-16 16-96!"), 'P', "{version:?}");
        assert_eq!(read(16, 80, "0-16 16-96!"), 'C', "{version:?}");
        assert_eq!(read(8, 0, "0-16 16-96"), 'P', "{version:?}");
        assert_eq!(read(7, 80, "0-16 16-96"), '?', "the header is missing, {version:?}");
        assert_eq!(read(0, 0, "16-96 0-16"), '?', "the header is missing, {version:?}");
        assert_eq!(read(0, 8, "16-96 0-16"), 'P', "{version:?}");
    }
    let mut reader = Reader::new();
    let fragment = &DOCUMENTATION.fragments(V4, 7, 53, "0-16")[0];
    let frame = Frame::new(LinkType::RawIp, fragment).with_wire_length(fragment.len() - 1);
    let result = reader.decoder.decode(&frame, reader.now, |_, _| Ok(()));
    assert_eq!(result, Err(Rejected::ShortFrame));
}

#[test]
fn fragments_that_are_not_admitted_are_not_stored() {
    let fragments = DOCUMENTATION.fragments(V4, 7, 53, "0-16 16-96");
    let mut reader = Reader::new();
    let frame = Frame::new(LinkType::RawIp, &fragments[0]);
    let result = reader.decoder.decode(&frame, reader.now, |source, target| {
        assert_eq!((source, target), (SOURCE_V4.into(), TARGET_V4.into()));
        Err(Rejected::NotForThisHost)
    });
    assert_eq!(result, Err(Rejected::NotForThisHost));
    assert_eq!(reader.read(&fragments[1]), Err(Rejected::Fragment));
    assert_eq!(letter(&reader.read(&fragments[0])), 'P');
}

/// Each row is the time between two fragments in milliseconds, and whether they are
/// reassembled.
#[test]
fn a_datagram_expires_as_in_the_kernel() {
    let table = [
        (V4, 29_999, true),
        // The kernel's timer may be late.
        (V4, 33_000, true),
        (V4, 34_000, false),
        (V6, 59_999, true),
        (V6, 67_000, true),
        (V6, 68_000, false),
    ];
    for (version, millis, together) in table {
        let fragments = DOCUMENTATION.fragments(version, 7, 53, "0-16 16-96");
        let mut reader = Reader::new();
        assert_eq!(letter(&reader.read(&fragments[0])), 'w');
        reader.wait(millis);
        let expected = if together { 'P' } else { 'w' };
        assert_eq!(letter(&reader.read(&fragments[1])), expected, "{version:?} {millis} ms");
        let (completed, expired) = (u64::from(together), u64::from(!together));
        let stats = reader.stats();
        assert_eq!((stats.completed, stats.expired, stats.evicted), (completed, expired, 0));
    }
    // If the time may be over, a fragment that contradicts the old ones restarts the datagram.
    for (version, millis) in [(V4, 31_000), (V6, 61_000)] {
        let check = |millis, expected: &str| {
            let old = DOCUMENTATION.fragments(version, 7, 53, "0-16!");
            let new = DOCUMENTATION.fragments(version, 7, 53, "0-16 16-96");
            let mut reader = Reader::new();
            reader.read_all(&old);
            reader.wait(millis);
            let letters: String = reader.read_all(&new).iter().map(letter).collect();
            assert_eq!(letters, expected, "{version:?} {millis} ms");
        };
        check(millis, "wP");
        check(1_000, "wC");
    }
    // A clock that goes back does not expire a datagram.
    let mut reader = Reader::new();
    let fragments = DOCUMENTATION.fragments(V4, 7, 53, "0-16 16-96");
    reader.read(&fragments[0]).unwrap_err();
    reader.now = Instant::from_secs(1);
    assert_eq!(letter(&reader.read(&fragments[1])), 'P');
}

/// Each row is the number of fragments of other datagrams between two fragments, and
/// whether these two are reassembled (`net.ipv4.ipfrag_max_dist`).
#[test]
fn many_fragments_of_other_datagrams_end_reassembly() {
    for (version, others, together) in
        [(V4, 63, true), (V4, 64, false), (V6, 64, true), (V6, 1_000, true)]
    {
        let mut reader = Reader::new();
        let fragments = DOCUMENTATION.fragments(version, 7, 53, "0-16 16-96");
        assert_eq!(letter(&reader.read(&fragments[0])), 'w');
        for id in 0..others {
            reader.read_all(&DOCUMENTATION.fragments(version, 1000 + id, 53, "0-16"));
        }
        let expected = if together { 'P' } else { 'w' };
        assert_eq!(letter(&reader.read(&fragments[1])), expected, "{version:?}: {others}");
        if !together {
            // The last fragment restarted the datagram.
            assert_eq!(letter(&reader.read(&fragments[0])), 'P');
        }
    }
}

/// One datagram of many tiny fragments, in the most expensive order.
#[test]
fn thousands_of_fragments_are_reassembled() {
    let mut payload = udp(&vec![b'x'; 60_000]);
    payload[4..6].copy_from_slice(&60_008_u16.to_be_bytes());
    for version in [V4, V6] {
        let whole = DOCUMENTATION.packet(version, UDP, &payload);
        let bytes = &whole[whole.len() - payload.len()..];
        let mut reader = Reader::new();
        let mut last = Err(Rejected::NotIp);
        for start in (0..bytes.len()).step_by(8).rev() {
            let more = start + 8 < bytes.len();
            let piece = &bytes[start..start + 8];
            last = reader.read(&DOCUMENTATION.fragment(version, UDP, 7, start, more, piece));
        }
        assert_eq!(letter(&last), 'P', "{version:?}");
    }
}
