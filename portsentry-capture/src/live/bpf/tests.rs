//! The kernel runs the programs: a socket pair can have the same filters as a packet socket.
//! Its packets have no metadata, so loads of metadata are replaced by constants.

mod accepted;
mod sent;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};

use proptest::prelude::*;
use proptest::sample::select;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair,
};

use portsentry_core::{NetworkSet, PortSet};

use super::attach::PORT_RANGES;
use super::matching::{PACKET_OTHERHOST, PACKET_OUTGOING};
use super::probes::candidates;
use super::program::{Ancillary, Instruction};
use crate::decode::ether_type::{IPV4, IPV6, VLAN_TAGS};
use crate::live::for_host::{Arrival, decode_for_host};
use crate::live::{SNAP_LENGTH, Watched, packet_socket};
use crate::{ChecksumState, Decoder, Frame, LinkType};

const SYN: u8 = 0x02;

/// `ARPHRD_ETHER`.
const ETHERNET: u32 = 1;

/// A program that is attached to a socket.
struct Filter {
    sender: OwnedFd,
    receiver: OwnedFd,
}

impl Filter {
    fn new(program: &[Instruction], protocol: u16, packet_type: u32) -> Self {
        let known = |field: Ancillary, value: u32| (field.offset(), value);
        let metadata = [
            known(Ancillary::Protocol, protocol.into()),
            known(Ancillary::PacketType, packet_type),
            known(Ancillary::InterfaceType, ETHERNET),
        ];
        let program: Vec<Instruction> = program
            .iter()
            .map(|it| {
                match metadata.iter().find(|(offset, _)| (0x20, *offset) == (it.code, it.operand)) {
                    Some((_, value)) => Instruction { code: 0, operand: *value, ..*it },
                    None => *it,
                }
            })
            .collect();
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (sender, receiver) =
            socketpair(AddressFamily::UNIX, SocketType::DGRAM, flags, None).unwrap();
        packet_socket::attach_filter(receiver.as_fd(), &program).unwrap();
        Self { sender, receiver }
    }

    /// Returns the number of bytes of `packet` that pass.
    fn run(&self, packet: &[u8]) -> usize {
        send(&self.sender, packet, SendFlags::empty()).unwrap();
        let mut buffer = [0; 4096];
        match recv(&self.receiver, &mut buffer, RecvFlags::empty()) {
            Ok((bytes, _)) => {
                assert_eq!(buffer[..bytes], packet[..bytes]);
                bytes
            }
            Err(Errno::AGAIN) => 0,
            Err(error) => panic!("{error}"),
        }
    }
}

fn addresses(list: &str) -> NetworkSet {
    list.split(' ').map(|it| it.parse::<ipnet::IpNet>().unwrap()).collect()
}

fn ports(list: &[u16]) -> PortSet {
    list.iter().copied().collect()
}

/// Returns a few addresses of each version, and a few ports.
fn watched() -> Watched {
    Watched::new(
        addresses(
            "10.0.0.2/32 127.0.0.0/9 127.128.0.0/10 fd00::2/128 fe80::1:2/128 ::1/128 fd02:0:0:7::/67",
        ),
        ports(&[23, 80, 81, 82, 65_535]),
        ports(&[1, 53, 161]),
    )
}

fn tcp(port: u16, flags: u8) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 4, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes
}

fn udp(port: u16) -> Vec<u8> {
    let mut bytes = vec![0x9c, 0x40, 0, 0, 0, 8, 0, 0];
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
    bytes
}

/// Returns an IPv4 packet with this number of words of options.
fn v4(target: Ipv4Addr, protocol: u8, fragment: u16, options: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45 + options, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1];
    packet.extend(target.octets());
    packet.extend(vec![1; usize::from(options) * 4]);
    packet.extend(payload);
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[6..8].copy_from_slice(&fragment.to_be_bytes());
    seal(&mut packet);
    packet
}

/// Corrects the header checksum, if this is an IPv4 packet.
fn seal(packet: &mut [u8]) {
    let header = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    let Some(header) = packet.get_mut(..header).filter(|it| it.len() >= 20) else { return };
    if header[0] >> 4 == 4 {
        header[10..12].fill(0);
        let words = header.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
        let sum: u32 = words.sum();
        let checksum = !((sum & 0xffff) + (sum >> 16)) as u16;
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

fn v6(target: Ipv6Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, next, 64];
    packet[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    packet.extend("fd00::1".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(target.octets());
    packet.extend(payload);
    packet
}

/// Returns `payload` after an extension header `kind` of eight bytes, or an authentication
/// header.
fn extended(kind: u8, next: u8, payload: &[u8]) -> Vec<u8> {
    let (words, size) = if kind == 51 { (1, 12) } else { (0, 8) };
    let mut bytes = vec![next, words];
    bytes.resize(size, 0);
    bytes.extend(payload);
    bytes
}

/// Returns `packet` after an Ethernet header with tags of these types.
fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let mut frame = vec![2; 12];
    for tag in tags {
        frame.extend(tag.to_be_bytes());
        frame.extend([0x40, 7]);
    }
    frame.extend(if packet[0] >> 4 == 4 { IPV4 } else { IPV6 }.to_be_bytes());
    frame.extend(packet);
    frame
}

fn ether_type_of(frame: &[u8]) -> u16 {
    u16::from_be_bytes([frame[12], frame[13]])
}

fn own4() -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, 2)
}

fn own6() -> Ipv6Addr {
    "fd00::2".parse().unwrap()
}

#[test]
fn only_possible_probes_pass() {
    let elsewhere4 = Ipv4Addr::new(10, 0, 0, 3);
    let six = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let syn = tcp(23, SYN);
    let table: Vec<(&str, Vec<u8>, bool)> = vec![
        ("SYN", v4(own4(), 6, 0, 0, &syn), true),
        ("SYN after options", v4(own4(), 6, 0, 10, &syn), true),
        ("SYN, don't fragment", v4(own4(), 6, 0x4000, 0, &syn), true),
        ("NULL", v4(own4(), 6, 0, 0, &tcp(80, 0)), true),
        ("XMAS", v4(own4(), 6, 0, 0, &tcp(81, 0x29)), true),
        ("FIN", v4(own4(), 6, 0, 0, &tcp(82, 0x01)), true),
        ("SYN with ECN", v4(own4(), 6, 0, 0, &tcp(65_535, 0xc2)), true),
        ("SYN-ACK", v4(own4(), 6, 0, 0, &tcp(23, 0x12)), false),
        ("ACK", v4(own4(), 6, 0, 0, &tcp(23, 0x10)), false),
        ("RST", v4(own4(), 6, 0, 0, &tcp(23, 0x04)), false),
        ("SYN to the port below", v4(own4(), 6, 0, 0, &tcp(22, SYN)), false),
        ("SYN to the port above", v4(own4(), 6, 0, 0, &tcp(83, SYN)), false),
        ("SYN to port 0", v4(own4(), 6, 0, 0, &tcp(0, SYN)), false),
        ("SYN to a UDP port", v4(own4(), 6, 0, 0, &tcp(53, SYN)), false),
        ("SYN to another host", v4(elsewhere4, 6, 0, 0, &syn), false),
        ("SYN to 127.77.0.5", v4(Ipv4Addr::new(127, 77, 0, 5), 6, 0, 0, &syn), true),
        ("SYN to 127.192.0.0", v4(Ipv4Addr::new(127, 192, 0, 0), 6, 0, 0, &syn), false),
        ("first fragment of 8 bytes", v4(own4(), 6, 0x2000, 0, &syn[..8]), true),
        ("last fragment", v4(own4(), 6, 0x0001, 0, &syn[8..]), true),
        ("UDP fragment", v4(own4(), 17, 0x2005, 0, &[0; 8]), true),
        ("fragment to another host", v4(elsewhere4, 6, 0x2000, 0, &syn[..8]), false),
        ("ICMP fragment", v4(own4(), 1, 0x2000, 0, &[0; 8]), false),
        ("UDP", v4(own4(), 17, 0, 0, &udp(53)), true),
        ("UDP after options", v4(own4(), 17, 0, 3, &udp(161)), true),
        ("UDP to a TCP port", v4(own4(), 17, 0, 0, &udp(23)), false),
        ("ICMP", v4(own4(), 1, 0, 0, &[8; 16]), false),
        ("ESP", v4(own4(), 50, 0, 0, &[8; 16]), false),
        ("AH", v4(own4(), 51, 0, 0, &extended(51, 6, &syn)), true),
        ("v6 SYN", v6(own6(), 6, &syn), true),
        ("v6 SYN to ::1", v6(six("::1"), 6, &syn), true),
        ("v6 SYN to link-local", v6(six("fe80::1:2"), 6, &syn), true),
        ("v6 ACK", v6(own6(), 6, &tcp(23, 0x10)), false),
        ("v6 RST", v6(own6(), 6, &tcp(23, 0x14)), false),
        ("v6 SYN to another port", v6(own6(), 6, &tcp(24, SYN)), false),
        ("v6 SYN to another host", v6(six("fd00::3"), 6, &syn), false),
        ("v6 SYN to another host, first word", v6(six("fd01::2"), 6, &syn), false),
        ("v6 SYN to another host, second word", v6(six("fd00:0:0:1::2"), 6, &syn), false),
        ("v6 SYN to another host, third word", v6(six("fd00::1:0:2"), 6, &syn), false),
        ("v6 SYN into a network", v6(six("fd02:0:0:7:1fff::9"), 6, &syn), true),
        ("v6 SYN after a network", v6(six("fd02:0:0:7:2000::"), 6, &syn), false),
        ("v6 SYN before a network", v6(six("fd02:0:0:6:1fff::9"), 6, &syn), false),
        ("v6 UDP", v6(own6(), 17, &udp(1)), true),
        ("v6 UDP to another port", v6(own6(), 17, &udp(2)), false),
        ("v6 ICMP", v6(own6(), 58, &[0; 8]), false),
        ("v6 ESP", v6(own6(), 50, &[0; 16]), false),
        ("v6 hop-by-hop", v6(own6(), 0, &extended(0, 6, &syn)), true),
        ("v6 routing", v6(own6(), 43, &extended(43, 6, &syn)), true),
        ("v6 fragment", v6(own6(), 44, &extended(44, 6, &syn)), true),
        ("v6 authentication", v6(own6(), 51, &extended(51, 6, &syn)), true),
        ("v6 destination", v6(own6(), 60, &extended(60, 6, &syn)), true),
        ("v6 hop-by-hop to another host", v6(six("ff02::1"), 0, &extended(0, 58, &syn)), false),
    ];
    let watched = watched();
    for (name, packet, expected) in &table {
        for tags in [&[][..], &[0x8100], &[0x88a8, 0x8100], &[0x9100, 0x9100]] {
            let frame = ethernet(tags, packet);
            let filter = Filter::new(&candidates(14, &watched, 256), ether_type_of(&frame), 0);
            let expected = if *expected { frame.len() } else { 0 };
            assert_eq!(filter.run(&frame), expected, "{name}, tags {tags:04x?}");
        }
        let protocol = if packet[0] >> 4 == 4 { IPV4 } else { IPV6 };
        let filter = Filter::new(&candidates(0, &watched, 256), protocol, 0);
        assert_eq!(filter.run(packet), if *expected { packet.len() } else { 0 }, "{name}, bare");
    }
}

#[test]
fn only_incoming_packets_for_this_host_pass() {
    let packet = v4(own4(), 6, 0, 0, &tcp(23, SYN));
    let program = candidates(0, &watched(), 256);
    for (packet_type, name, expected) in [
        (0, "to this host", true),
        (1, "broadcast", true),
        (2, "multicast", true),
        (PACKET_OTHERHOST, "to another host", false),
        (PACKET_OUTGOING, "outgoing", false),
    ] {
        let passed = Filter::new(&program, IPV4, packet_type).run(&packet);
        assert_eq!(passed, if expected { packet.len() } else { 0 }, "{name}");
    }
    for (protocol, expected) in [(0x0806, false), (0x0001, false), (0x8864, false), (IPV4, true)] {
        let passed = Filter::new(&program, protocol, 0).run(&packet);
        assert_eq!(passed > 0, expected, "EtherType {protocol:04x}");
    }
}

#[test]
fn long_packets_are_cut() {
    let datagram = [&udp(53)[..], &[0; 3000]].concat();
    let passed = |protocol, packet: &[u8]| {
        Filter::new(&candidates(0, &watched(), 256), protocol, 0).run(packet)
    };
    assert_eq!(passed(IPV4, &v4(own4(), 17, 0, 0, &datagram)), SNAP_LENGTH as usize);
    assert_eq!(passed(IPV6, &v6(own6(), 17, &datagram)), SNAP_LENGTH as usize);
    // The chain of headers may be as long as the packet.
    for header in [60, 44] {
        let long = v6(own6(), header, &extended(header, 17, &datagram));
        assert_eq!(passed(IPV6, &long), long.len(), "extension header {header}");
    }
    let tags = vec![0x8100; 700];
    let tagged = ethernet(&tags, &v4(own4(), 17, 0, 0, &udp(53)));
    assert_eq!(passed(0x8100, &tagged[14..]), tagged.len() - 14);
}

/// Returns the first `number` odd ports.
fn odd_ports(number: u16) -> PortSet {
    (0..number).map(|it| 2 * it + 1).collect()
}

/// Returns `number` addresses of each version, none of them adjacent.
fn hosts(number: u16) -> NetworkSet {
    let hosts = (0..number).flat_map(|it| {
        let [high, low] = it.to_be_bytes();
        [IpAddr::from([10, high, low, 1]), Ipv6Addr::new(0xfd00, it, 0, 0, 0, 0, 0, 1).into()]
    });
    hosts.map(ipnet::IpNet::from).collect()
}

fn many(ports: u16, addresses: u16) -> Watched {
    let tcp_ports = odd_ports(ports);
    Watched::new(hosts(addresses), tcp_ports.clone(), tcp_ports)
}

#[test]
fn the_program_length_is_bounded() {
    // `BPF_MAXINSNS` of Linux.
    const MOST: usize = 4096;
    for (number, ranges, expected) in
        [(0, 256, 120), (1, 256, 150), (20, 256, 500), (32_767, 256, 1_500), (32_767, 1, 300)]
    {
        let length = candidates(14, &many(number, number.min(5_000)), ranges).len();
        assert!(length <= expected && length <= MOST, "{number}, {ranges}: {length} instructions");
    }
    // The longest program: also the maximum of 64 addresses of each version.
    let most = many(32_767, 64);
    let length = candidates(14, &most, 256).len();
    assert!((1_000..2_000).contains(&length), "{length} instructions");
}

/// Returns the maximum number of instructions that the kernel executes for a packet.
fn longest_path(program: &[Instruction]) -> usize {
    // Jumps lead forward only.
    let mut longest = vec![0; program.len()];
    for at in (0..program.len()).rev() {
        let Instruction { code, jump_true, jump_false, operand } = program[at];
        let after = |distance: usize| longest[at + 1 + distance];
        longest[at] = 1 + match code {
            0x06 => 0,
            0x05 => after(operand as usize),
            0x15 | 0x35 | 0x45 => after(jump_true.into()).max(after(jump_false.into())),
            _ => after(0),
        };
    }
    longest[0]
}

#[test]
fn long_port_lists_need_few_more_instructions() {
    let path = |ports| {
        let watched = Watched { tcp_ports: odd_ports(ports), ..watched() };
        longest_path(&candidates(14, &watched, PORT_RANGES[0]))
    };
    let one = path(1);
    println!("1, 500, 5,000 and 32,768 ports: {:?}", [1, 500, 5_000, 32_768].map(path));
    for ports in [500, 5_000, 32_768] {
        // A binary search of 2 * 256 edges, and bridges if a jump is too far.
        let more = path(ports) - one;
        assert!((1..=12).contains(&more), "{ports} ports: {more} more than {one}");
    }
}

#[test]
fn no_watched_port_is_filtered_out() {
    for number in [1, 255, 256, 257, 500, 5_000, 32_767] {
        let watched = Watched { tcp_ports: odd_ports(number), ..watched() };
        for ranges in PORT_RANGES {
            let filter = Filter::new(&candidates(0, &watched, ranges), IPV4, 0);
            let mut dropped = 0;
            for port in 1..=u16::MAX {
                // A sample of all ports, and all at both ends.
                if port > 600 && port % 97 != 0 && port < 65_000 {
                    continue;
                }
                let passed = filter.run(&v4(own4(), 6, 0, 0, &tcp(port, SYN))) > 0;
                let wanted = watched.tcp_ports.contains(port);
                assert!(passed || !wanted, "port {port} of {number}, {ranges} ranges");
                if usize::from(number) <= ranges {
                    assert_eq!(passed, wanted, "port {port} of {number}, {ranges} ranges");
                }
                dropped += usize::from(!passed);
            }
            assert!(dropped > 0 || number > 32_000, "no port was filtered out");
        }
    }
}

fn packet() -> impl Strategy<Value = Vec<u8>> {
    let port = || prop_oneof![select(vec![1_u16, 23, 53, 80, 82, 161, 65_535]), any::<u16>()];
    let flags = || prop_oneof![select(vec![0_u8, 1, 2, 0x29, 0xc2, 0x12, 0x10, 4]), any::<u8>()];
    let transport = || {
        prop_oneof![
            (port(), flags()).prop_map(|(port, flags)| (6, tcp(port, flags))),
            port().prop_map(|port| (17, udp(port))),
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)),
        ]
    };
    let extensions = prop::collection::vec(select(vec![0_u8, 43, 44, 51, 60, 135]), 0..4);
    let chain = |kinds: Vec<u8>, (next, payload): (u8, Vec<u8>)| {
        kinds
            .iter()
            .rev()
            .fold((next, payload), |(next, payload), kind| (*kind, extended(*kind, next, &payload)))
    };
    let target4 = select(vec!["10.0.0.2", "10.0.0.3", "127.0.0.1", "127.191.255.255"]);
    let target6 =
        select(vec!["fd00::2", "fe80::1:2", "::1", "fd00::3", "ff02::1", "fd02:0:0:7::9"]);
    let fragment = prop_oneof![3 => select(vec![0_u16, 0x4000]), 1 => any::<u16>()];
    prop_oneof![
        (target4, fragment, 0_u8..=10, any::<bool>(), transport()).prop_map(
            move |(target, fragment, options, authenticated, transport)| {
                let kinds = if authenticated { vec![51] } else { vec![] };
                let (protocol, payload) = chain(kinds, transport);
                v4(target.parse().unwrap(), protocol, fragment, options, &payload)
            }
        ),
        (target6, extensions, transport()).prop_map(move |(target, kinds, transport)| {
            let (next, payload) = chain(kinds, transport);
            v6(target.parse().unwrap(), next, &payload)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// A packet that the decoder accepts as a probe of a watched port passes completely.
    #[test]
    fn no_probe_is_filtered_out(
        packet in packet(),
        tags in prop::collection::vec(select(VLAN_TAGS.to_vec()), 0..=2),
        damage in prop::option::of((0_usize..80, any::<u8>())),
        padding in 0_usize..6,
        ranges in select(PORT_RANGES.to_vec()),
    ) {
        let mut frame = ethernet(&tags, &packet);
        if let Some((at, byte)) = damage {
            let at = 14 + at % (frame.len() - 14);
            frame[at] = byte;
            seal(&mut frame[14 + 4 * tags.len()..]);
        }
        frame.resize(frame.len() + padding, 0);
        let watched = watched();
        let checksum = ChecksumState::NotReady;
        let (link, wire_length) = (LinkType::Ethernet, frame.len());
        let captured = Frame { link, captured: &frame, wire_length, checksum };
        let arrival = Arrival { interface: 1, on_loopback: true };
        let mut decoder = Decoder::new();
        let decoded = decode_for_host(&mut decoder, &captured, arrival, &watched, Default::default());
        let is_probe = decoded.is_ok_and(|packet| {
            let observation = packet.observation(Default::default(), 0);
            let ports = match observation.evidence {
                portsentry_core::Evidence::Segment(_) => &watched.tcp_ports,
                _ => &watched.udp_ports,
            };
            observation.is_opener() && ports.contains(observation.target_port)
        });
        let filter = Filter::new(&candidates(14, &watched, ranges), ether_type_of(&frame), 0);
        let passed = filter.run(&frame);
        prop_assert!(passed == wire_length || passed == 0 && !is_probe, "{:02x?}", frame);
    }
}
