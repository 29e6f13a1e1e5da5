//! The packets that were really on the wire: `tcpdump` captures them on the host, and
//! `tshark` decodes them. Neither shares code with the program.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use portsentry_testbed::{Background, Namespace, SOON, Signal};
use tempfile::{NamedTempFile, TempPath};

/// A `tcpdump` of the packets that arrive at one end of the veth pair.
#[derive(Debug)]
pub(crate) struct Witness {
    tcpdump: Background,
    capture: TempPath,
}

/// A TCP segment, UDP datagram or SCTP packet, reassembled if it arrived in fragments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Witnessed {
    pub(crate) source: IpAddr,
    pub(crate) port: u16,
    pub(crate) transport: Transport,
    /// Whether the checksum of the transport header is correct.
    pub(crate) intact: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// A segment with these flags, or `None` if `tshark` rejects the header.
    Tcp(Option<u16>),
    Udp,
    Sctp,
}

impl Witness {
    #[track_caller]
    pub(crate) fn start(end: &Namespace) -> Self {
        // AppArmor profiles let tcpdump write files with this suffix only.
        let capture =
            tempfile::Builder::new().suffix(".pcap").tempfile().map(NamedTempFile::into_temp_path);
        let capture = capture.expect("file");
        let to_file = ["-Z", "root", "-w", capture.to_str().expect("path"), "-U"];
        let live = ["-i", end.interface(), "-Q", "in", "-n", "-l", "--print", "--immediate-mode"];
        // Each packet takes its maximum length in the ring. With the default values the ring
        // has space for a burst of 26 packets only.
        let room = ["-s", "2048", "-B", "16384"];
        let mut tcpdump = end.spawn("tcpdump", &[&to_file[..], &live, &room].concat());
        tcpdump.wait_for_line(SOON, |line| line.contains("listening on"));
        Self { tcpdump, capture }
    }

    #[track_caller]
    pub(crate) fn wait_for_port(&mut self, port: u16, within: Duration) {
        self.tcpdump.wait_for_line(within, |line| destination_port(line) == Some(port));
    }

    /// Returns all packets, in order.
    #[track_caller]
    pub(crate) fn packets(self, host: &Namespace) -> Vec<Witnessed> {
        let transport = "(tcp or udp or sctp) and not icmp and not icmpv6";
        self.decoded(host, transport, &FIELDS).lines().map(packet).collect()
    }

    /// Returns the ports whose probes the peer answered: by a segment or a datagram from
    /// the port, or by the message that it is unreachable.
    #[track_caller]
    pub(crate) fn answers(self, namespace: &Namespace) -> BTreeSet<u16> {
        let unreachable = "(icmp.type == 3 or icmpv6.type == 1) and udp";
        let answer = format!("tcp or {unreachable} or (udp and not icmp and not icmpv6)");
        let fields = ["icmp.type", "icmpv6.type", "tcp.srcport", "udp.srcport", "udp.dstport"];
        let port = |line: &str| match line.split(',').collect::<Vec<_>>()[..] {
            // The first port of a TCP segment or UDP datagram, the second in ICMP.
            ["", "", "", udp, _] => udp.parse().expect("port"),
            ["", "", tcp, ..] => tcp.parse().expect("port"),
            [.., target] => target.parse().expect("port"),
            [] => panic!("no fields"),
        };
        self.decoded(namespace, &answer, &fields).lines().map(port).collect()
    }

    /// Returns these fields of the packets that pass the filter, one line for each packet.
    fn decoded(mut self, namespace: &Namespace, filter: &str, fields: &[&str]) -> String {
        self.tcpdump.signal(Signal::TERM);
        self.tcpdump.wait(SOON);
        let verify = ["ip", "tcp", "udp"].map(|it| format!("-o{it}.check_checksum:TRUE"));
        let show = fields.iter().map(|it| format!("-e{it}"));
        let mut tshark = namespace.command("tshark");
        tshark.arg("-n").arg("-r").arg(&self.capture).args(verify).args(["-Y", filter]);
        tshark.args(["-T", "fields", "-E", "separator=,", "-E", "occurrence=f"]).args(show);
        let output = tshark.output().expect("tshark");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text")
    }
}

/// Returns the port in `IP 10.1.2.3.40000 > 10.1.2.4.23: Flags [S], ...`.
fn destination_port(line: &str) -> Option<u16> {
    let (_, target) = line.split_once(" > ")?;
    let (target, _) = target.split_once(": ")?;
    target.rsplit_once('.')?.1.parse().ok()
}

/// Fields that `tshark` prints for each packet.
const FIELDS: [&str; 8] = [
    "ip.src",
    "ipv6.src",
    "tcp.dstport",
    "udp.dstport",
    "sctp.dstport",
    "tcp.flags",
    "tcp.checksum.status",
    "udp.checksum.status",
];

fn packet(line: &str) -> Witnessed {
    /// Status of a wrong checksum in the output of `tshark`.
    const BAD: &str = "0";

    let fields: Vec<&str> = line.split(',').collect();
    let [v4, v6, tcp, udp, sctp, flags, tcp_status, udp_status] = fields[..] else {
        panic!("unexpected output of tshark: {line}")
    };
    let flags = u16::from_str_radix(flags.trim_start_matches("0x"), 16).ok();
    let (transport, port) = match (tcp, udp, sctp) {
        ("", "", port) => (Transport::Sctp, port),
        ("", port, _) => (Transport::Udp, port),
        (port, ..) => (Transport::Tcp(flags), port),
    };
    Witnessed {
        source: [v4, v6].concat().parse().expect("one address"),
        port: port.parse().expect("port"),
        transport,
        intact: ![tcp_status, udp_status].contains(&BAD),
    }
}
