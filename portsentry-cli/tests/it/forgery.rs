//! Packets that no socket would send, from a capture file, sent by `tcpreplay`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use etherparse::PacketBuilder;
use portsentry_testbed::{Namespace, Testbed};
use tempfile::NamedTempFile;

/// Sends frames from the scanner's end of the veth pair to the host's end.
#[derive(Debug)]
pub(crate) struct Forger<'a> {
    scanner: &'a Namespace,
    from: [u8; 6],
    to: [u8; 6],
}

impl<'a> Forger<'a> {
    pub(crate) fn new(bed: &'a Testbed) -> Self {
        Self { scanner: &bed.scanner, from: hardware(&bed.scanner), to: hardware(&bed.host) }
    }

    /// Returns a SYN in an Ethernet frame.
    pub(crate) fn syn(&self, from: IpAddr, to: IpAddr, port: u16) -> Vec<u8> {
        syn_frame((self.from, self.to), from, to, port)
    }

    /// Returns a datagram in an Ethernet frame.
    pub(crate) fn datagram(&self, from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Vec<u8> {
        let packet = PacketBuilder::ethernet2(self.from, self.to)
            .ipv4(from.octets(), to.octets(), 64)
            .udp(40_000, port);
        let mut bytes = vec![0; packet.size(0)];
        packet.write_to_slice(&mut bytes, &[]).expect("a packet");
        bytes
    }

    /// Sends `frames` in order, at most `rate` per second.
    #[track_caller]
    pub(crate) fn send(&self, frames: &[Vec<u8>], rate: u32) {
        self.send_by(self.scanner.interface(), frames, rate);
    }

    /// Sends the frames through another interface of the scanner.
    #[track_caller]
    pub(crate) fn send_by(&self, interface: &str, frames: &[Vec<u8>], rate: u32) {
        let file = NamedTempFile::new().expect("file");
        fs::write(file.path(), capture(frames)).expect("write");
        let path = file.path().to_str().expect("path");
        let rate = format!("--pps={rate}");
        self.scanner.run("tcpreplay", &["-q", &rate, "-i", interface, path]);
    }
}

/// Returns a SYN in an Ethernet frame between these hardware addresses.
pub(crate) fn syn_frame(
    hardware: ([u8; 6], [u8; 6]),
    from: IpAddr,
    to: IpAddr,
    port: u16,
) -> Vec<u8> {
    let frame = PacketBuilder::ethernet2(hardware.0, hardware.1);
    let packet = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => frame.ipv4(from.octets(), to.octets(), 64),
        (IpAddr::V6(from), IpAddr::V6(to)) => frame.ipv6(from.octets(), to.octets(), 64),
        _ => panic!("{from} and {to} belong to different families"),
    };
    let segment = packet.tcp(40_000, port, 1, 1_024).syn();
    let mut bytes = vec![0; segment.size(0)];
    segment.write_to_slice(&mut bytes, &[]).expect("a packet");
    bytes
}

/// Returns a capture file (`pcap-savefile(5)`) in which all packets have the same time.
pub(crate) fn capture(frames: &[Vec<u8>]) -> Vec<u8> {
    const ETHERNET: u32 = 1;
    let mut bytes = Vec::new();
    let mut put = |words: &[u32]| bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    put(&[0xa1b2_c3d4, 2 | 4 << 16, 0, 0, 65_535, ETHERNET]);
    for frame in frames {
        let length = u32::try_from(frame.len()).expect("a short frame");
        bytes.extend([1_700_000_000, 0, length, length].iter().flat_map(|w: &u32| w.to_le_bytes()));
        bytes.extend(frame);
    }
    bytes
}

/// Returns the hardware address of the namespace's end of the veth pair.
pub(crate) fn hardware(namespace: &Namespace) -> [u8; 6] {
    let shown = namespace.ip(&["-oneline", "link", "show", "dev", namespace.interface()]);
    let (_, address) = shown.split_once("link/ether ").expect("an Ethernet interface");
    let mut bytes = address[..17].split(':').map(|byte| u8::from_str_radix(byte, 16));
    std::array::from_fn(|_| bytes.next().expect("six bytes").expect("a byte"))
}
