//! The filter for the SYN-ACKs that this host sends.

use super::super::accepted::accepted;
use super::*;

/// Source port of [`tcp`].
const PORT: u16 = 40_000;
const ACK: u8 = 0x10;

fn from4(source: &str, protocol: u8, options: u8, flags: u8) -> Vec<u8> {
    let mut packet = v4(Ipv4Addr::new(10, 0, 0, 53), protocol, 0x4000, options, &tcp(53, flags));
    packet[12..16].copy_from_slice(&source.parse::<Ipv4Addr>().unwrap().octets());
    packet
}

fn from6(next: u8, flags: u8) -> Vec<u8> {
    let mut packet = v6("fd00::53".parse().unwrap(), next, &tcp(53, flags));
    packet[8..24].copy_from_slice(&own6().octets());
    packet
}

#[test]
fn only_accepted_connections_to_monitored_ports_pass() {
    let table: Vec<(&str, Vec<u8>, bool)> = vec![
        ("SYN-ACK", from4("10.0.0.2", 6, 0, SYN | ACK), true),
        ("with ECE", from4("10.0.0.2", 6, 0, SYN | ACK | 0x40), true),
        ("IP options", from4("10.0.0.2", 6, 10, SYN | ACK), true),
        ("SYN", from4("10.0.0.2", 6, 0, SYN), false),
        ("ACK", from4("10.0.0.2", 6, 0, ACK), false),
        ("RST", from4("10.0.0.2", 6, 0, ACK | 0x04), false),
        ("forwarded", from4("10.0.0.3", 6, 0, SYN | ACK), false),
        ("UDP", from4("10.0.0.2", 17, 0, SYN | ACK), false),
        ("v6 SYN-ACK", from6(6, SYN | ACK), true),
        ("v6 SYN", from6(6, SYN), false),
        ("v6 UDP", from6(17, SYN | ACK), false),
    ];
    let addresses = watched().addresses;
    for (name, packet, expected) in &table {
        let protocol = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
        let check = |ports: &[u16], protocol, packet_type, expected: bool| {
            let program = accepted(&addresses, &super::ports(ports), 256);
            let passed = Filter::new(&program, protocol, packet_type).run(packet);
            assert_eq!(passed > 0, expected, "{name} {ports:?} {protocol:04x} {packet_type}");
        };
        check(&[1, PORT], protocol, PACKET_OUTGOING, *expected);
        check(&[53, PORT - 1, PORT + 1], protocol, PACKET_OUTGOING, false);
        for other in [0, 1, 2, PACKET_OTHERHOST] {
            check(&[PORT], protocol, other, false);
        }
        check(&[PORT], 0x0806, PACKET_OUTGOING, false);
    }
}

#[test]
fn long_port_lists_lose_no_connection() {
    let every_second = |first| (first..=u16::MAX).step_by(2).collect::<PortSet>();
    let packet = from4("10.0.0.2", 6, 0, SYN | ACK);
    for ranges in PORT_RANGES {
        let length = accepted(&hosts(5_000), &every_second(1), ranges).len();
        assert!(length < 1_500, "{ranges}: {length} instructions");
        let program = accepted(&watched().addresses, &every_second(2), ranges);
        let passed = Filter::new(&program, IPV4, PACKET_OUTGOING).run(&packet);
        assert!(passed > 0, "{ranges}");
    }
}
