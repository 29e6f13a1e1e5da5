//! The filter for datagrams that this host sends.

use super::super::sent::sent;
use super::*;

/// Source port of [`tcp`] and [`udp`].
const PORT: u16 = 40_000;

fn from4(source: &str, protocol: u8, fragment: u16, options: u8) -> Vec<u8> {
    let mut packet = v4(Ipv4Addr::new(10, 0, 0, 53), protocol, fragment, options, &udp(53));
    packet[12..16].copy_from_slice(&source.parse::<Ipv4Addr>().unwrap().octets());
    packet
}

fn from6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = v6("fd00::53".parse().unwrap(), next, payload);
    packet[8..24].copy_from_slice(&own6().octets());
    packet
}

/// Returns a fragment header with this next header, and this offset with flags, and `payload`.
fn fragmented(next: u8, offset: u16, payload: &[u8]) -> Vec<u8> {
    let [high, low] = offset.to_be_bytes();
    [&[next, 0, high, low, 0, 0, 0, 7], payload].concat()
}

#[test]
fn only_queries_from_monitored_ports_pass() {
    let later = udp(53);
    let table: Vec<(&str, Vec<u8>, bool)> = vec![
        ("UDP", from4("10.0.0.2", 17, 0, 0), true),
        ("options", from4("10.0.0.2", 17, 0, 10), true),
        ("don't fragment", from4("10.0.0.2", 17, 0x4000, 0), true),
        ("first fragment", from4("10.0.0.2", 17, 0x2000, 0), true),
        ("later fragment", from4("10.0.0.2", 17, 0x2001, 0), false),
        ("last fragment", from4("10.0.0.2", 17, 0x1000, 0), false),
        ("loopback", from4("127.191.255.255", 17, 0, 0), true),
        ("no address yet", from4("0.0.0.0", 17, 0, 0), true),
        ("forwarded", from4("10.0.0.3", 17, 0, 0), false),
        ("TCP", from4("10.0.0.2", 6, 0, 0), false),
        ("ICMP", from4("10.0.0.2", 1, 0, 0), false),
        ("v6 UDP", from6(17, &udp(53)), true),
        ("v6 first fragment", from6(44, &fragmented(17, 1, &udp(53))), true),
        ("v6 later fragment", from6(44, &fragmented(17, 9, &later)), false),
        ("v6 far fragment", from6(44, &fragmented(17, 0x1001, &later)), false),
        ("v6 fragment of TCP", from6(44, &fragmented(6, 1, &tcp(53, SYN))), false),
        ("v6 from another host", v6("fd00::2".parse().unwrap(), 17, &udp(53)), false),
        ("v6 TCP", from6(6, &tcp(53, SYN)), false),
        ("v6 ICMP", from6(58, &[0; 8]), false),
    ];
    let addresses = watched().addresses;
    for (name, packet, expected) in &table {
        let protocol = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
        let check = |ports: &[u16], protocol, packet_type, expected: bool| {
            let program = sent(&addresses, &super::ports(ports), 256);
            let passed = Filter::new(&program, protocol, packet_type).run(packet);
            let expected = if expected { packet.len() } else { 0 };
            assert_eq!(passed, expected, "{name} {ports:?} {protocol:04x} {packet_type}");
        };
        check(&[1, PORT], protocol, PACKET_OUTGOING, *expected);
        check(&[53, PORT - 1, PORT + 1], protocol, PACKET_OUTGOING, false);
        // Those that arrive in the name of this host.
        for other in [0, 1, 2, PACKET_OTHERHOST] {
            check(&[PORT], protocol, other, *expected);
        }
        check(&[PORT], 0x0806, PACKET_OUTGOING, false);
    }
}

#[test]
fn only_headers_are_copied() {
    let packet = v4(own4(), 17, 0, 10, &[&udp(53)[..], &[0; 3000]].concat());
    let addresses = addresses("10.0.0.1/32");
    let program = sent(&addresses, &ports(&[PORT]), 1);
    let passed = Filter::new(&program, IPV4, PACKET_OUTGOING).run(&packet);
    assert_eq!(passed, 60 + 8 + 16);
}

#[test]
fn long_port_lists_lose_no_query() {
    let every_second = |first| (first..=u16::MAX).step_by(2).collect::<PortSet>();
    for ranges in PORT_RANGES {
        let length = sent(&hosts(5_000), &every_second(1), ranges).len();
        assert!(length < 1_500, "{ranges}: {length} instructions");
        let program = sent(&watched().addresses, &every_second(2), ranges);
        let passed = Filter::new(&program, IPV4, PACKET_OUTGOING).run(&from4("10.0.0.2", 17, 0, 0));
        assert!(passed > 0, "{ranges}");
    }
}
