//! Frames and the packets that they decode to.

use portsentry_capture::{LinkType, Packet, Rejected, decode};
use portsentry_core::{IpOptions, Timestamp};

use crate::frames::*;

const SYN: u16 = 0x002;

fn check(what: &str, link: LinkType, frame: &[u8], expected: Result<Packet, Rejected>) {
    assert_eq!(decode(link, frame), expected, "{what}");
}

/// Checks a packet without a link header, and with a header of each link type.
fn check_ip(what: &str, packet: &[u8], expected: Result<Packet, Rejected>) {
    let is_v6 = packet.first().is_some_and(|first| first >> 4 == 6);
    for link in LINKS {
        let frame = framed(link, is_v6, packet);
        let header = frame.len() - packet.len();
        let expected = expected.map(|packet| {
            let interface = if link == LinkType::LinuxSll2 { 0x0102_0304 } else { 0 };
            packet.with_wire_length(packet.wire_length + header).with_interface(interface)
        });
        check(&format!("{what} over {link:?}"), link, &frame, expected);
    }
}

#[test]
fn link_types_have_their_registered_numbers() {
    let table = [
        (0, Some(LinkType::BsdLoopback)),
        (1, Some(LinkType::Ethernet)),
        (12, Some(LinkType::RawIp)),
        (14, Some(LinkType::RawIp)),
        (101, Some(LinkType::RawIp)),
        (105, None),
        (108, Some(LinkType::BsdLoopback)),
        (113, Some(LinkType::LinuxSll)),
        (228, Some(LinkType::RawIp)),
        (229, Some(LinkType::RawIp)),
        (276, Some(LinkType::LinuxSll2)),
        (-1, None),
    ];
    for (number, expected) in table {
        assert_eq!(LinkType::from_dlt(number), expected, "{number}");
    }
}

#[test]
fn link_headers_are_decoded() {
    let v4 = ipv4(TCP, &tcp(SYN));
    let v6 = ipv6(TCP, &tcp(SYN));
    let seen = |wire_length| Ok(segment_v4(SYN, wire_length));
    let seen_v6 = |wire_length| Ok(over_v6(segment_v4(SYN, wire_length)));
    let tagged = |outer, inner: &[u8]| ethernet(outer, inner);
    let one = tag(0x0800, &v4);
    let one_v6 = tag(0x86dd, &v6);
    let two = tag(0x8100, &one);
    let many = tag(0x8100, &tag(0x88a8, &tag(0x8100, &two)));
    let priority = |rest: &[u8]| [&[0xe0, 0, 0x81, 0], rest].concat();
    let priorities = (0..300).fold(two.clone(), |rest, _| priority(&rest));

    use LinkType::{BsdLoopback, Ethernet, LinuxSll, LinuxSll2, RawIp};
    let table = [
        ("ARP", Ethernet, ethernet(0x0806, &[0; 46]), Err(Rejected::NotIp)),
        ("802.3 length", Ethernet, ethernet(0x0026, &[0x42; 46]), Err(Rejected::NotIp)),
        ("802.1Q", Ethernet, tagged(0x8100, &one), seen(58)),
        ("802.1ad", Ethernet, tagged(0x88a8, &one), seen(58)),
        ("0x9100", Ethernet, tagged(0x9100, &one), seen(58)),
        ("QinQ", Ethernet, tagged(0x88a8, &two), seen(62)),
        ("QinQ, IPv6", Ethernet, tagged(0x88a8, &tag(0x8100, &tag(0x86dd, &v6))), seen_v6(82)),
        ("three tags", Ethernet, tagged(0x8100, &tag(0x8100, &two)), {
            Err(Rejected::TooManyVlanTags)
        }),
        ("300 priority tags before two", Ethernet, tagged(0x8100, &priorities), seen(1_262)),
        ("tagged ARP", Ethernet, tagged(0x8100, &tag(0x0806, &[0; 46])), Err(Rejected::NotIp)),
        ("cut in the tag", Ethernet, tagged(0x8100, &[0, 6, 8]), Err(Rejected::Truncated)),
        ("IPv6 announced as IPv4", Ethernet, ethernet(0x0800, &v6), Err(Rejected::IpVersion)),
        ("IPv4 announced as IPv6", Ethernet, ethernet(0x86dd, &v4), Err(Rejected::IpVersion)),
        ("nothing", Ethernet, vec![], Err(Rejected::Truncated)),
        ("short header", Ethernet, vec![0; 13], Err(Rejected::Truncated)),
        ("no packet", Ethernet, ethernet(0x0800, &[]), Err(Rejected::Truncated)),
        ("nothing", RawIp, vec![], Err(Rejected::Truncated)),
        ("version 5", RawIp, with(&v4, 0, &[0x55]), Err(Rejected::IpVersion)),
        ("little-endian 2", BsdLoopback, [&[2, 0, 0, 0], &v4[..]].concat(), seen(44)),
        ("big-endian 2", BsdLoopback, [&[0, 0, 0, 2], &v4[..]].concat(), seen(44)),
        ("Linux's IPv6", BsdLoopback, [&[10, 0, 0, 0], &v6[..]].concat(), seen_v6(64)),
        ("OpenBSD's IPv6", BsdLoopback, [&[0, 0, 0, 24], &v6[..]].concat(), seen_v6(64)),
        ("FreeBSD's IPv6", BsdLoopback, [&[28, 0, 0, 0], &v6[..]].concat(), seen_v6(64)),
        ("Darwin's IPv6", BsdLoopback, [&[0, 0, 0, 30], &v6[..]].concat(), seen_v6(64)),
        ("family 7", BsdLoopback, [&[7, 0, 0, 0], &v4[..]].concat(), Err(Rejected::NotIp)),
        ("family 0x0202", BsdLoopback, [&[2, 2, 0, 0], &v4[..]].concat(), Err(Rejected::NotIp)),
        ("family 0x0102", BsdLoopback, [&[0, 0, 1, 2], &v4[..]].concat(), Err(Rejected::NotIp)),
        ("wrong family", BsdLoopback, [&[2, 0, 0, 0], &v6[..]].concat(), Err(Rejected::IpVersion)),
        ("short header", BsdLoopback, vec![2, 0, 0], Err(Rejected::Truncated)),
        ("PPP device", LinuxSll, sll(512, 0x0800, &v4), seen(56)),
        ("tagged", LinuxSll, sll(1, 0x8100, &one), seen(60)),
        ("unannounced tag", LinuxSll, sll(1, 0x0800, &tag(0x0800, &v4)), seen(60)),
        ("announced outer tag and another", LinuxSll, sll(1, 0x88a8, &tag(0x0800, &one)), seen(64)),
        ("two unannounced tags", LinuxSll, sll(1, 0x0800, &two), seen(64)),
        ("five unannounced tags", LinuxSll, sll(1, 0, &many), seen(76)),
        ("tag with priority 2", LinuxSll, sll(1, 0x0800, &with(&one, 0, &[0x40, 0])), seen(60)),
        ("tag with priority 3", LinuxSll, sll(1, 0x86dd, &with(&one_v6, 0, &[0x60, 0])), {
            seen_v6(80)
        }),
        ("no protocol, no tag", LinuxSll, sll(1, 0, &v4), Err(Rejected::NotIp)),
        ("IPv6 after a tag that announces IPv4", LinuxSll, sll(1, 0x0800, &tag(0x0800, &v6)), {
            Err(Rejected::IpVersion)
        }),
        ("IPv6 announced as IPv4", LinuxSll, sll(1, 0x0800, &v6), Err(Rejected::IpVersion)),
        (
            "unannounced tag, not in a cooked frame",
            Ethernet,
            ethernet(0x0800, &tag(0x0800, &v4)),
            { Err(Rejected::IpVersion) },
        ),
        ("ARP", LinuxSll, sll(1, 0x0806, &[0; 28]), Err(Rejected::NotIp)),
        ("802.2", LinuxSll, sll(1, 0x0004, &[0x42; 28]), Err(Rejected::NotIp)),
        ("short header", LinuxSll, vec![0; 15], Err(Rejected::Truncated)),
        ("PPP device", LinuxSll2, sll2(512, 0x0800, &v4), {
            Ok(segment_v4(SYN, 60).with_interface(0x0102_0304))
        }),
        ("IPv6 after an unannounced tag", LinuxSll2, { sll2(1, 0x86dd, &tag(0x86dd, &v6)) }, {
            Ok(seen_v6(84).unwrap().with_interface(0x0102_0304))
        }),
        ("ARP", LinuxSll2, sll2(1, 0x0806, &[0; 28]), Err(Rejected::NotIp)),
        ("short header", LinuxSll2, vec![8; 19], Err(Rejected::Truncated)),
    ];
    for (what, link, frame, expected) in table {
        check(what, link, &frame, expected);
    }
}

#[test]
fn loopback_frames_are_recognised() {
    let v4 = ipv4(TCP, &tcp(SYN));
    let zeros = with(&ethernet(0x0800, &v4), 0, &[0; 12]);
    let table = [
        (LinkType::Ethernet, ethernet(0x0800, &v4), false),
        (LinkType::Ethernet, zeros.clone(), true),
        (LinkType::Ethernet, with(&zeros, 11, &[1]), false),
        (LinkType::Ethernet, vec![0; 11], false),
        (LinkType::RawIp, v4.clone(), false),
        (LinkType::BsdLoopback, vec![], true),
        (LinkType::LinuxSll, sll(772, 0x0800, &v4), true),
        (LinkType::LinuxSll, sll(1, 0x0800, &v4), false),
        (LinkType::LinuxSll, vec![], false),
        (LinkType::LinuxSll2, sll2(772, 0x0800, &v4), true),
        (LinkType::LinuxSll2, sll2(1, 0x0800, &v4), false),
        (LinkType::LinuxSll2, vec![], false),
    ];
    for (link, frame, expected) in table {
        assert_eq!(link.marks_loopback(&frame), expected, "{link:?} {frame:02x?}");
    }
}

#[test]
fn ipv4_headers_are_decoded() {
    let syn = tcp(SYN);
    let v4 = ipv4(TCP, &syn);
    let seen = Ok(segment_v4(SYN, 40));
    let with_options = |length| Ok(segment_v4(SYN, length).with_ip_options(IpOptions::Present));
    let table = [
        ("SYN", v4.clone(), seen),
        ("padding", [&v4[..], &[0xff; 6]].concat(), seen),
        ("shortest options", ipv4_with_options(1, TCP, &syn), with_options(44)),
        ("longest options", ipv4_with_options(10, TCP, &syn), with_options(80)),
        ("header length 16", with(&v4, 0, &[0x44]), Err(Rejected::IpHeaderLength)),
        ("header length 0", with(&v4, 0, &[0x40]), Err(Rejected::IpHeaderLength)),
        ("header beyond total", with(&v4, 0, &[0x4b]), Err(Rejected::Truncated)),
        ("header beyond total, padded", [&with(&v4, 0, &[0x4b])[..], &[0; 60]].concat(), {
            Err(Rejected::IpTotalLength)
        }),
        ("total length 0", with(&v4, 2, &[0, 0]), Err(Rejected::IpTotalLength)),
        ("total length 19", with(&v4, 2, &[0, 19]), Err(Rejected::IpTotalLength)),
        ("total length 20", sealed(with(&v4, 2, &[0, 20])), Err(Rejected::TransportHeader)),
        ("total length 39", sealed(with(&v4, 2, &[0, 39])), Err(Rejected::TransportHeader)),
        ("total length beyond frame", sealed(with(&v4, 2, &[0, 60])), Ok(segment_v4(SYN, 60))),
        ("cut in the header", v4[..19].to_vec(), Err(Rejected::Truncated)),
        ("cut in the options", ipv4_with_options(2, TCP, &[])[..27].to_vec(), {
            Err(Rejected::Truncated)
        }),
        ("do not fragment", sealed(with(&v4, 6, &[0x40, 0])), seen),
        ("reserved bit (RFC 3514)", sealed(with(&v4, 6, &[0x80, 0])), seen),
        ("first fragment", sealed(with(&v4, 6, &[0x20, 0])), Err(Rejected::Fragment)),
        ("middle fragment", sealed(with(&v4, 6, &[0x20, 3])), Err(Rejected::Fragment)),
        ("last fragment", sealed(with(&v4, 6, &[0x00, 1])), Err(Rejected::Fragment)),
        ("furthest fragment", sealed(with(&v4, 6, &[0x1f, 0])), Err(Rejected::Fragment)),
        ("ICMP", ipv4(1, &[8; 20]), Err(Rejected::OtherTransport)),
        ("SCTP", ipv4(132, &syn), Err(Rejected::OtherTransport)),
        ("hop-by-hop over IPv4", ipv4(HOP_BY_HOP, &extension(TCP, 0, &syn)), {
            Err(Rejected::OtherTransport)
        }),
        ("ESP", ipv4(50, &syn), Err(Rejected::Encrypted)),
        ("AH", ipv4(AUTHENTICATION, &authentication(TCP, 4, &syn)), Ok(segment_v4(SYN, 64))),
        ("AH of 8 bytes", ipv4(AUTHENTICATION, &authentication(TCP, 0, &syn)), {
            Err(Rejected::ExtensionHeader)
        }),
    ];
    for (what, packet, expected) in table {
        check_ip(what, &packet, expected);
    }
}

#[test]
fn ipv6_headers_are_decoded() {
    let syn = tcp(SYN);
    let v6 = ipv6(TCP, &syn);
    let seen = |wire_length| Ok(over_v6(segment_v4(SYN, wire_length)));
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let chain = |count| {
        (0..count).fold(syn.clone(), |rest, i| {
            extension(if i == 0 { TCP } else { DESTINATION }, 0, &rest)
        })
    };
    let jumbo = |rest: &[u8]| with(&ipv6(HOP_BY_HOP, rest), 4, &[0, 0]);
    let table = [
        ("SYN", v6.clone(), seen(60)),
        ("padding", [&v6[..], &[0xff; 6]].concat(), seen(60)),
        ("payload length 19", with(&v6, 4, &[0, 19]), Err(Rejected::TransportHeader)),
        ("payload length 0", with(&v6, 4, &[0, 0]), Err(Rejected::TransportHeader)),
        ("payload beyond frame", with(&v6, 4, &[0, 99]), seen(139)),
        ("cut in the header", v6[..39].to_vec(), Err(Rejected::Truncated)),
        ("mapped source", sealed(with(&v6, 8, &mapped)), {
            let mut packet = over_v6(segment_v4(SYN, 60));
            packet.source = "::ffff:0.0.0.1".parse().unwrap();
            Ok(packet)
        }),
        ("mapped target", with(&v6, 24, &mapped), Err(Rejected::MappedAddress)),
        ("hop-by-hop", ipv6(HOP_BY_HOP, &extension(TCP, 0, &syn)), seen(68)),
        ("routing", ipv6(ROUTING, &routing(TCP, 0, &syn)), seen(68)),
        ("routing with a hop left", ipv6(ROUTING, &routing(TCP, 1, &syn)), {
            Err(Rejected::NotForThisHost)
        }),
        ("destination", ipv6(DESTINATION, &extension(TCP, 1, &syn)), seen(76)),
        ("AH", ipv6(AUTHENTICATION, &authentication(TCP, 1, &syn)), seen(72)),
        ("AH of 8 bytes", ipv6(AUTHENTICATION, &authentication(TCP, 0, &syn)), {
            Err(Rejected::ExtensionHeader)
        }),
        (
            "several",
            ipv6(
                HOP_BY_HOP,
                &extension(
                    DESTINATION,
                    0,
                    &extension(
                        ROUTING,
                        0,
                        &routing(AUTHENTICATION, 0, &authentication(TCP, 4, &syn)),
                    ),
                ),
            ),
            seen(108),
        ),
        (
            "hop-by-hop not first",
            ipv6(DESTINATION, &extension(HOP_BY_HOP, 0, &extension(TCP, 0, &syn))),
            { Err(Rejected::ExtensionHeader) },
        ),
        ("nine", ipv6(DESTINATION, &chain(9)), seen(132)),
        ("as many extensions as fit", ipv6(DESTINATION, &chain(8189)), seen(65572)),
        ("the longest extension", ipv6(DESTINATION, &extension(TCP, 255, &syn)), seen(2108)),
        (
            "two of the longest extensions",
            ipv6(DESTINATION, &extension(DESTINATION, 255, &extension(TCP, 255, &syn))),
            seen(4156),
        ),
        (
            "extension longer than the packet",
            ipv6(DESTINATION, &with(&extension(TCP, 0, &syn), 1, &[9])),
            { Err(Rejected::ExtensionHeader) },
        ),
        (
            "extension of 4 bytes",
            ipv6(DESTINATION, &[TCP, 0, 1, 2]),
            Err(Rejected::ExtensionHeader),
        ),
        ("cut in the extension", ipv6(DESTINATION, &extension(TCP, 3, &syn))[..60].to_vec(), {
            Err(Rejected::Truncated)
        }),
        (
            "cut in the extension that ends the packet",
            { ipv6(DESTINATION, &extension(59, 3, &[]))[..60].to_vec() },
            Err(Rejected::Truncated),
        ),
        ("cut after the extension", ipv6(DESTINATION, &extension(TCP, 3, &syn))[..72].to_vec(), {
            Err(Rejected::Truncated)
        }),
        (
            "AH longer than the packet",
            ipv6(AUTHENTICATION, &with(&authentication(TCP, 1, &syn), 1, &[30])),
            { Err(Rejected::ExtensionHeader) },
        ),
        ("cut in the AH", ipv6(AUTHENTICATION, &authentication(TCP, 9, &syn))[..50].to_vec(), {
            Err(Rejected::Truncated)
        }),
        ("atomic fragment", ipv6(FRAGMENT, &fragment(TCP, 0, false, &syn)), seen(68)),
        ("atomic fragment, UDP", ipv6(FRAGMENT, &fragment(UDP, 0, false, &udp(&[]))), {
            Ok(over_v6(datagram_v4(56)))
        }),
        (
            "atomic fragment after hop-by-hop",
            ipv6(HOP_BY_HOP, &extension(FRAGMENT, 0, &fragment(TCP, 0, false, &syn))),
            seen(76),
        ),
        (
            "atomic fragment in an atomic fragment",
            ipv6(FRAGMENT, &fragment(FRAGMENT, 0, false, &fragment(TCP, 0, false, &syn))),
            { Err(Rejected::ExtensionHeader) },
        ),
        ("atomic fragment with reserved bits", ipv6(FRAGMENT, &fragment(TCP, 6, false, &syn)), {
            seen(68)
        }),
        (
            "fragment header in a jumbogram",
            jumbo(&extension(FRAGMENT, 0, &{ fragment(TCP, 0, false, &syn) })),
            Err(Rejected::ExtensionHeader),
        ),
        ("first fragment", ipv6(FRAGMENT, &fragment(TCP, 0, true, &syn)), Err(Rejected::Fragment)),
        ("last fragment", ipv6(FRAGMENT, &fragment(TCP, 8, false, &syn)), Err(Rejected::Fragment)),
        (
            "fragment header of 4 bytes",
            ipv6(FRAGMENT, &[TCP, 0, 0, 0]),
            Err(Rejected::ExtensionHeader),
        ),
        (
            "cut in the fragment header",
            ipv6(FRAGMENT, &fragment(TCP, 0, false, &syn))[..44].to_vec(),
            { Err(Rejected::Truncated) },
        ),
        ("no next header", ipv6(59, &syn), Err(Rejected::NoNextHeader)),
        ("no next header after an extension", ipv6(DESTINATION, &extension(59, 0, &syn)), {
            Err(Rejected::NoNextHeader)
        }),
        ("ESP", ipv6(50, &syn), Err(Rejected::Encrypted)),
        ("ICMPv6", ipv6(58, &[128; 20]), Err(Rejected::OtherTransport)),
        ("experiment", ipv6(253, &syn), Err(Rejected::OtherTransport)),
        ("payload length 0 with hop-by-hop", jumbo(&extension(TCP, 0, &syn)), seen(68)),
        (
            "payload length 0, packet too short",
            jumbo(&extension(TCP, 0, &syn[..19])),
            Err(Rejected::TransportHeader),
        ),
    ];
    for (what, packet, expected) in table {
        check_ip(what, &packet, expected);
    }
}

#[test]
fn transport_headers_are_decoded() {
    let seen = |flags, length| Ok(segment_v4(flags, length));
    let long = tcp_with_options(10);
    let long_seen = Ok(segment_v4(SYN, 80));
    let datagram = udp(b"query");
    let length = |length: u16| with(&datagram, 4, &length.to_be_bytes());
    let table = [
        ("NULL", ipv4(TCP, &tcp(0x000)), seen(0x000, 40)),
        ("XMAS", ipv4(TCP, &tcp(0x029)), seen(0x029, 40)),
        ("all flags", ipv4(TCP, &tcp(0xfff)), seen(0xfff, 40)),
        ("SYN with ECN and a reserved bit", ipv4(TCP, &tcp(0x8c2)), seen(0x8c2, 40)),
        ("options", ipv4(TCP, &long), long_seen),
        ("payload", ipv4(TCP, &[&long[..], b"GET"].concat()), seen(SYN, 83)),
        ("cut in the options", ipv4(TCP, &long)[..58].to_vec(), long_seen),
        ("cut before the options", ipv4(TCP, &long)[..40].to_vec(), long_seen),
        ("cut in the fixed header", ipv4(TCP, &long)[..39].to_vec(), Err(Rejected::Truncated)),
        ("no byte captured", ipv4(TCP, &long)[..20].to_vec(), Err(Rejected::Truncated)),
        ("data offset 0", ipv4(TCP, &with(&long, 12, &[0x00])), Err(Rejected::TcpDataOffset)),
        ("data offset 4", ipv4(TCP, &with(&long, 12, &[0x4f])), Err(Rejected::TcpDataOffset)),
        ("data offset beyond the segment", ipv4(TCP, &with(&long, 12, &[0xf0]))[..76].to_vec(), {
            long_seen
        }),
        ("data offset beyond the packet", ipv4(TCP, &with(&tcp(SYN), 12, &[0x60])), {
            Err(Rejected::TcpDataOffset)
        }),
        (
            "data offset within the padding",
            [ipv4(TCP, &with(&tcp(SYN), 12, &[0x60])), vec![0; 6]].concat(),
            { Err(Rejected::TcpDataOffset) },
        ),
        ("segment of 19 bytes", ipv4(TCP, &tcp(SYN)[..19]), Err(Rejected::TransportHeader)),
        ("segment of 8 bytes, padded", [ipv4(TCP, &tcp(SYN)[..8]), vec![0; 18]].concat(), {
            Err(Rejected::TransportHeader)
        }),
        ("UDP", ipv4(UDP, &datagram), Ok(datagram_v4(33))),
        ("UDP, empty", ipv4(UDP, &udp(&[])), Ok(datagram_v4(28))),
        ("UDP, cut payload", ipv4(UDP, &datagram)[..28].to_vec(), Ok(datagram_v4(33))),
        ("UDP, cut header", ipv4(UDP, &datagram)[..27].to_vec(), Err(Rejected::Truncated)),
        ("UDP of 7 bytes", ipv4(UDP, &datagram[..7]), Err(Rejected::TransportHeader)),
        ("UDP length below the packet's", ipv4(UDP, &length(12)), Ok(datagram_v4(33))),
        ("UDP length 7", ipv4(UDP, &length(7)), Err(Rejected::UdpLength)),
        ("UDP length 0", ipv4(UDP, &length(0)), Err(Rejected::UdpLength)),
        ("UDP length beyond the packet", ipv4(UDP, &length(14)), Err(Rejected::UdpLength)),
        ("UDP over IPv6", ipv6(UDP, &datagram), Ok(over_v6(datagram_v4(53)))),
        ("UDP length 0 over IPv6", ipv6(UDP, &length(0)), Ok(over_v6(datagram_v4(53)))),
        ("UDP length 7 over IPv6", ipv6(UDP, &length(7)), Err(Rejected::UdpLength)),
    ];
    for (what, packet, expected) in table {
        check_ip(what, &packet, expected);
    }
}

/// The tables above contain each kind that the decoder alone can return.
#[test]
fn rejection_names_are_distinct_and_sorted() {
    let names: std::collections::BTreeSet<_> = Rejected::ALL.iter().map(|k| k.name()).collect();
    assert_eq!(names.len(), Rejected::ALL.len());
    let ordinary: Vec<_> = Rejected::ALL.iter().filter(|kind| !kind.is_malformed()).collect();
    assert_eq!(
        ordinary,
        [
            &Rejected::NotIp,
            &Rejected::OtherTransport,
            &Rejected::Encrypted,
            &Rejected::NoNextHeader,
            &Rejected::Fragment,
            &Rejected::NotForThisHost,
            &Rejected::UnknownLinkType,
            &Rejected::Duplicate,
            &Rejected::SolicitedReply,
        ]
    );
}

#[test]
fn an_observation_has_the_fields_of_its_packet() {
    let time = Timestamp::from_nanos(7);
    let packet = segment_v4(SYN, 54);
    let seen = packet.observation(time, 3);
    assert_eq!((seen.time, seen.interface), (time, 3));
    assert_eq!((seen.source, seen.source_port), (packet.source, 40000));
    assert_eq!((seen.target, seen.target_port), (packet.target, 23));
    assert_eq!((seen.evidence, seen.ip_options), (packet.evidence, packet.ip_options));
    assert_eq!((seen.ttl, seen.ip_id), (Some(57), Some(0xabcd)));
    assert_eq!(packet.with_interface(9).observation(time, 3).interface, 9);

    assert_eq!(packet.on_wire(54), Ok(packet));
    assert_eq!(packet.on_wire(53), Err(Rejected::ShortFrame));
}
