//! The decoder compared with the kernel: both must reassemble the same datagrams from the
//! same frames. A difference would be a way to evade detection.

#[path = "offline/fragments.rs"]
#[allow(dead_code, reason = "other test programs use the rest")]
mod fragments;
#[path = "offline/frames.rs"]
#[allow(dead_code, reason = "other test programs use the rest")]
mod frames;

use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use portsentry_capture::{Decoder, Frame, LinkType, Packet, Rejected};
use portsentry_core::Instant;
use portsentry_testbed::{Testbed, require_root};

use fragments::Version::{V4, V6};
use fragments::*;
use frames::*;

/// Target address of the frames of [`ethernet`].
const HOST_MAC: &str = "02:00:00:00:00:01";

/// A host with a UDP socket, and a raw link to it from outside.
struct Wire {
    between: Between,
    sockets: [UdpSocket; 2],
    port: u16,
    wire: pcap::Capture<pcap::Active>,
    decoder: Decoder,
    sent: u32,
    _bed: Testbed,
}

impl Wire {
    fn new(bed: Testbed) -> Self {
        let (host, scanner) = (&bed.host, &bed.scanner);
        host.ip(&["link", "set", host.interface(), "address", HOST_MAC]);
        for end in [host, scanner] {
            end.ip(&["link", "set", end.interface(), "mtu", "9000"]);
        }
        let bind = |address: IpAddr, port| {
            host.enter(|| {
                let socket = UdpSocket::bind((address, port)).expect("bind");
                socket.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
                socket
            })
        };
        let v4 = bind(host.v4().into(), 0);
        let port = v4.local_addr().expect("address").port();
        let sockets = [v4, bind(host.v6().into(), port)];
        let between = Between {
            v4: [scanner.v4().octets(), host.v4().octets()],
            v6: [scanner.v6().octets(), host.v6().octets()],
        };
        let wire = scanner.enter(|| {
            pcap::Capture::from_device(scanner.interface()).unwrap().open().expect("wire")
        });
        Self { between, sockets, port, wire, decoder: Decoder::new(), sent: 0, _bed: bed }
    }

    /// Sends the packets; returns the number of datagrams that the kernel delivers and the
    /// number of packets that the decoder returns.
    fn both(&mut self, version: Version, packets: &[Vec<u8>]) -> (usize, usize) {
        let mut ours = 0;
        for packet in packets {
            let ether_type = if version == V4 { 0x0800 } else { 0x86dd };
            let frame = ethernet(ether_type, packet);
            ours += usize::from(self.decode(&frame).is_ok());
            self.wire.sendpacket(frame.as_slice()).expect("send");
        }
        // Frames keep their order, so this one arrives last.
        self.sent += 1;
        let mark = format!("mark {}", self.sent);
        let marking = with(&udp(mark.as_bytes()), 2, &self.port.to_be_bytes());
        let marking = self.between.packet(version, UDP, &marking);
        let ether_type = if version == V4 { 0x0800 } else { 0x86dd };
        self.wire.sendpacket(ethernet(ether_type, &marking).as_slice()).expect("send");

        let socket = &self.sockets[usize::from(version == V6)];
        let mut kernels = 0;
        let mut buffer = [0; 1 << 16];
        loop {
            let length = socket.recv(&mut buffer).expect("the mark");
            if buffer[..length] == *mark.as_bytes() {
                return (kernels, ours);
            }
            kernels += 1;
        }
    }

    fn decode(&mut self, frame: &[u8]) -> Result<Packet, Rejected> {
        let frame = Frame::new(LinkType::Ethernet, frame);
        self.decoder.decode(&frame, Instant::from_secs(1), |_, _| Ok(()))
    }
}

#[test]
fn fragments_are_reassembled_as_in_the_kernel() {
    let Some(root) = require_root() else { return };
    let mut wire = Wire::new(Testbed::new(root));
    let (between, port) = (wire.between, wire.port);
    let mut id = 0;

    for (what, script, v4, v6) in SCRIPTS {
        for (version, expected) in [(V4, v4), (V6, v6)] {
            id += 1;
            let packets = between.fragments(version, id, port, script);
            let expected = expected.matches('P').count();
            let seen = wire.both(version, &packets);
            assert_eq!(seen, (expected, expected), "{what} over {version:?}: kernel, decoder");
        }
    }
    for (chain, first, taken) in CHAINS {
        id += 1;
        let packets = chain_fragments(&between, id, port, chain, first);
        let expected = usize::from(taken);
        let seen = wire.both(V6, &packets);
        assert_eq!(seen, (expected, expected), "{chain:?} cut at {first}: kernel, decoder");
    }
    for others in [63, 64] {
        id += 1;
        let mut packets = between.fragments(V4, id, port, "0-16 16-96");
        let last = packets.pop();
        for _ in 0..others {
            id += 1;
            packets.extend(between.fragments(V4, id, port, "0-16"));
        }
        packets.extend(last);
        let (kernels, ours) = wire.both(V4, &packets);
        assert_eq!(kernels, ours, "distance {others}");
    }

    // Random scripts.
    let mut random = Random(0x5eed);
    let mut delivered = 0;
    for round in 0..400 {
        for version in [V4, V6] {
            id += 1;
            let script = random.script();
            let packets = between.fragments(version, id, port, &script);
            let (kernels, ours) = wire.both(version, &packets);
            assert_eq!(kernels, ours, "round {round}, {version:?}: {script}");
            delivered += kernels;
        }
    }
    assert!((100..700).contains(&delivered), "{delivered} of 800 delivered");
}

#[test]
fn whole_packets_are_accepted_as_by_the_kernel() {
    let Some(root) = require_root() else { return };
    let mut wire = Wire::new(Testbed::new(root));
    let (between, port) = (wire.between, wire.port);
    let v4 = between.packet(V4, UDP, &between.datagram(V4, port, b'A'));
    let datagram = between.datagram(V6, port, b'A');
    let v6 = between.packet(V6, UDP, &datagram);
    let behind = |kind, rest: &[u8]| between.packet(V6, kind, rest);
    let options = |count: usize| {
        let start = (UDP, datagram.clone());
        let add = |(next, rest): (u8, Vec<u8>), _| (DESTINATION, extension(next, 0, &rest));
        let (next, rest) = (0..count).fold(start, add);
        between.packet(V6, next, &rest)
    };
    let unsummed = |packet: &[u8]| with(packet, packet.len() - LENGTH + 6, &[0, 0]);
    let damaged = |packet: &[u8]| with(packet, packet.len() - 1, b"?");
    let unfinished = |packet: &[u8]| {
        let sum = ones_sum(&[&pseudo_header(packet, UDP, LENGTH)]);
        with(packet, packet.len() - LENGTH + 6, &sum.to_be_bytes())
    };
    let no_length = |packet: &[u8]| sealed(with(packet, packet.len() - LENGTH + 4, &[0, 0]));
    let short = |packet: &[u8]| sealed(with(packet, packet.len() - LENGTH + 4, &[0, 20]));
    let atomic = fragment(UDP, 0, false, &datagram);
    let table = [
        ("UDP", v4.clone(), true),
        ("reserved bit", sealed(with(&v4, 6, &[0x80, 0])), true),
        ("damaged header", with(&v4, 10, &[v4[10] ^ 1]), false),
        ("damaged", damaged(&v4), false),
        ("without checksum", unsummed(&v4), true),
        ("length 0", no_length(&v4), false),
        ("length below the packet's", short(&v4), true),
        ("UDP over IPv6", v6.clone(), true),
        ("damaged", damaged(&v6), false),
        ("without checksum", unsummed(&v6), false),
        ("length 0", no_length(&v6), true),
        ("hop-by-hop", behind(HOP_BY_HOP, &extension(UDP, 0, &datagram)), true),
        (
            "hop-by-hop, payload length 0",
            with(&behind(HOP_BY_HOP, &extension(UDP, 0, &datagram)), 4, &[0, 0]),
            true,
        ),
        (
            "hop-by-hop second",
            behind(DESTINATION, &extension(HOP_BY_HOP, 0, &extension(UDP, 0, &datagram))),
            false,
        ),
        ("routing, none left", behind(ROUTING, &routing(UDP, 0, &datagram)), true),
        ("routing, one left", behind(ROUTING, &routing(UDP, 1, &datagram)), false),
        ("9 options headers", options(9), true),
        ("500 options headers", options(500), true),
        ("atomic fragment", behind(FRAGMENT, &atomic), true),
        (
            "atomic fragment, reserved bits",
            behind(FRAGMENT, &fragment(UDP, 6, false, &datagram)),
            { true },
        ),
        ("two fragment headers", behind(FRAGMENT, &fragment(FRAGMENT, 0, false, &atomic)), false),
        (
            "fragment header in a jumbogram",
            with(&behind(HOP_BY_HOP, &extension(FRAGMENT, 0, &atomic)), 4, &[0, 0]),
            false,
        ),
    ];
    for (what, packet, expected) in table {
        let version = if packet[0] >> 4 == 4 { V4 } else { V6 };
        let expected = usize::from(expected);
        let seen = wire.both(version, &[packet]);
        assert_eq!(seen, (expected, expected), "{what} over {version:?}: kernel, decoder");
    }
    // The only expected difference: the kernel knows whether the sender of a packet with an
    // unfinished checksum is on this machine, the decoder does not.
    for (version, packet) in [(V4, unfinished(&v4)), (V6, unfinished(&v6))] {
        assert_eq!(wire.both(version, &[packet]), (0, 1), "unfinished over {version:?}");
    }
}

/// Random numbers that are the same in every run: xorshift (Marsaglia, 2003).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as usize % bound
    }

    /// Returns the script of a datagram that is cut and shuffled. Further fragments may fit,
    /// overlap, contradict, or belong to another datagram.
    fn script(&mut self) -> String {
        let mut cuts: Vec<_> = (0..self.below(5)).map(|_| 8 * (1 + self.below(11))).collect();
        cuts.extend([0, LENGTH]);
        cuts.sort_unstable();
        cuts.dedup();
        let mut tokens: Vec<_> =
            cuts.windows(2).map(|cut| format!("{}-{}", cut[0], cut[1])).collect();
        for _ in 0..self.below(4) {
            let start = 8 * self.below(12);
            let end =
                start + if self.below(8) == 0 { self.below(20) } else { 8 * (1 + self.below(4)) };
            let flag = ["", "", "", "", "+", "."][self.below(6)];
            let other = ["", "!"][self.below(2)];
            // A packet at offset 0 without the flag is not a fragment.
            let flag = if start == 0 && (end >= LENGTH || flag == ".") { "+" } else { flag };
            tokens.push(format!("{start}-{end}{flag}{other}"));
            if self.below(4) == 0 {
                let again = self.below(tokens.len());
                tokens.push(tokens[again].clone());
            }
        }
        for i in (1..tokens.len()).rev() {
            if self.below(3) > 0 {
                let j = self.below(i + 1);
                tokens.swap(i, j);
            }
        }
        tokens.retain(|token| token != "0-96");
        tokens.join(" ")
    }
}
