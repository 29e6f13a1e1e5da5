//! Captures of real scans. The files are not part of the project.

use std::path::PathBuf;

/// A capture file and its content, counted by hand with `tshark`.
#[derive(Clone, Copy, Debug)]
pub struct Capture {
    /// Name of the file.
    pub file: &'static str,
    /// Address of the host in this capture, or `None` if every destination is the host.
    pub host: Option<&'static str>,
    /// Packets in the file.
    pub packets: u64,
    /// Probes of TCP ports: port above 0, neither ACK nor RST set.
    pub tcp: u64,
    /// Probes of UDP ports: port above 0, not quoted inside ICMP.
    pub udp: u64,
}

const fn capture(
    file: &'static str,
    host: Option<&'static str>,
    packets: u64,
    tcp: u64,
    udp: u64,
) -> Capture {
    Capture { file, host, packets, tcp, udp }
}

/// The captures.
pub const CAPTURES: [Capture; 20] = [
    capture("masscan-tcp-ports0-1000.pcap", None, 1005, 1000, 0),
    capture("masscan-udp-ports0-1000.pcap", None, 1001, 0, 1000),
    capture("zmap-tcp80-10000hosts.pcap", None, 10055, 10000, 1),
    capture("nmap-syn-top1000.pcap", Some("64.13.134.52"), 2011, 1994, 0),
    capture("nmap-mixed-types-smb-host.pcapng", Some("192.168.1.2"), 30, 7, 0),
    capture("nmap-os-detection.pcapng", Some("172.16.16.150"), 48, 23, 4),
    capture("nmap-xmas-cloud-vm.pcap", Some("158.160.84.144"), 1041, 106, 0),
    capture("nmap-xmas-cloud-vm.pcap", Some("10.129.0.4"), 1041, 8, 1),
    capture("nmap-udp-cloud-vm.pcap", Some("158.160.84.144"), 1240, 8, 267),
    capture("nmap-udp-cloud-vm.pcap", Some("10.129.0.4"), 1240, 56, 14),
    capture("icmp-protocol-unreachable-replies.pcapng", None, 252, 0, 0),
    capture("synflood-spoofed-first3000.pcap", Some("10.10.10.10"), 3000, 3000, 0),
    capture("backscatter-telescope.pcap", None, 4771, 0, 2),
    capture("tcp-flags-all-combinations.pcap", Some("10.0.0.80"), 63, 16, 0),
    capture("syn-10ports-macos-options.pcap", Some("192.168.2.22"), 10, 10, 0),
    capture("syn-scan-29ports-win8.pcap", Some("10.100.18.12"), 29, 29, 0),
    capture("ntp-own-queries-and-replies.pcap", Some("192.168.50.50"), 32, 0, 16),
    capture("ipv4-fragmented-syn.pcap", Some("10.0.0.5"), 2, 1, 0),
    capture("vlan-fragmented-syn.pcap", Some("2.2.2.2"), 3, 1, 0),
    capture("sll2-tcp-session.pcap", Some("192.168.1.21"), 5, 1, 0),
];

/// Returns the folder of the captures, named by `PORTSENTRY_CAPTURES`.
///
/// If the variable is not set, prints that the test is skipped, with the reason, and
/// returns `None`.
///
/// # Panics
///
/// Panics under continuous integration (`CI=true`) if the variable is not set, because
/// every test must run there.
#[track_caller]
pub fn captures_folder() -> Option<PathBuf> {
    let folder = std::env::var_os("PORTSENTRY_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        let caller = std::panic::Location::caller();
        let reason = "PORTSENTRY_CAPTURES does not name the folder of captures";
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
        println!("skipped: {}:{} {reason}", caller.file(), caller.line());
    }
    folder
}
