//! Real captures: what we see in them, against what `tshark` sees.
//!
//! The captures are not part of the project. `PORTSENTRY_CAPTURES` names the
//! folder that holds them.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use portsentry_capture::{CaptureFile, Drained, Sensor, Targets};
use portsentry_core::Protocol;

/// File, host (or all), packets in it, attempts by TCP and UDP. The numbers were
/// counted by hand with `tshark`.
const CAPTURES: [(&str, Option<&str>, u64, u64, u64); 20] = [
    ("masscan-tcp-ports0-1000.pcap", None, 1005, 1000, 0),
    ("masscan-udp-ports0-1000.pcap", None, 1001, 0, 1000),
    ("zmap-tcp80-10000hosts.pcap", None, 10055, 10000, 1),
    ("nmap-syn-top1000.pcap", Some("64.13.134.52"), 2011, 1994, 0),
    ("nmap-mixed-types-smb-host.pcapng", Some("192.168.1.2"), 30, 7, 0),
    ("nmap-os-detection.pcapng", Some("172.16.16.150"), 48, 23, 4),
    ("nmap-xmas-cloud-vm.pcap", Some("158.160.84.144"), 1041, 106, 0),
    ("nmap-xmas-cloud-vm.pcap", Some("10.129.0.4"), 1041, 8, 1),
    ("nmap-udp-cloud-vm.pcap", Some("158.160.84.144"), 1240, 8, 267),
    ("nmap-udp-cloud-vm.pcap", Some("10.129.0.4"), 1240, 56, 14),
    ("icmp-protocol-unreachable-replies.pcapng", None, 252, 0, 0),
    ("synflood-spoofed-first3000.pcap", Some("10.10.10.10"), 3000, 3000, 0),
    ("backscatter-telescope.pcap", None, 4771, 0, 2),
    ("tcp-flags-all-combinations.pcap", Some("10.0.0.80"), 63, 16, 0),
    ("syn-10ports-macos-options.pcap", Some("192.168.2.22"), 10, 10, 0),
    ("syn-scan-29ports-win8.pcap", Some("10.100.18.12"), 29, 29, 0),
    ("ntp-own-queries-and-replies.pcap", Some("192.168.50.50"), 32, 0, 16),
    ("ipv4-fragmented-syn.pcap", Some("10.0.0.5"), 2, 1, 0),
    ("vlan-fragmented-syn.pcap", Some("2.2.2.2"), 3, 1, 0),
    ("sll2-tcp-session.pcap", Some("192.168.1.21"), 5, 1, 0),
];

/// Says why a test did not run; under continuous integration that is a failure.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{reason}");
    println!("skipped: {reason}");
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("PORTSENTRY_CAPTURES").map(PathBuf::from);
    if folder.is_none() {
        skip("PORTSENTRY_CAPTURES does not name the folder of captures");
    }
    folder
}

/// Port, and time in nanoseconds, of every attempt by TCP and by UDP.
fn ours(path: &Path, host: Option<&str>, packets: u64) -> [Vec<(u16, i64)>; 2] {
    let targets = host.map_or_else(Targets::all, |host| {
        let host: IpAddr = host.parse().unwrap();
        Targets::within([host.into()])
    });
    let mut file = CaptureFile::open(path).unwrap().watching(targets);
    let mut seen = [Vec::new(), Vec::new()];
    loop {
        let drained = file.drain(100, &mut |observation| {
            if observation.is_opener() && observation.target_port > 0 {
                let kind = usize::from(observation.protocol() == Protocol::Udp);
                seen[kind].push((observation.target_port, observation.time.as_nanos()));
            }
        });
        if drained.unwrap() == Drained::End {
            break;
        }
    }
    assert_eq!(file.stats().received, packets, "{}", path.display());
    seen
}

/// The same as `tshark` sees it; `None` when there is no `tshark`.
fn theirs(path: &Path, host: Option<&str>, protocol: &str, rule: &str) -> Option<Vec<(u16, i64)>> {
    let host = host.map_or(String::new(), |host| format!("&& ip.dst == {host}"));
    let filter = format!("{protocol}.dstport > 0 && {rule} && !icmp && !icmpv6 {host}");
    let port = format!("{protocol}.dstport");
    let output = Command::new("tshark")
        .args(["-n", "-o", "ip.defragment:TRUE", "-o", "ipv6.defragment:TRUE"])
        .args(["-T", "fields", "-e", &port, "-e", "frame.time_epoch", "-Y", &filter, "-r"])
        .arg(path)
        .output()
        .ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let line = |line: &str| {
        let (port, time) = line.split_once('\t').unwrap();
        let (seconds, fraction) = time.split_once('.').unwrap();
        let nanos: i64 = format!("{seconds}{fraction:0<9}").parse().unwrap();
        (port.parse().unwrap(), nanos)
    };
    Some(text.lines().map(line).collect())
}

#[test]
fn attempts_in_real_captures() {
    let Some(folder) = folder() else { return };
    for (file, host, packets, tcp, udp) in CAPTURES {
        let seen = ours(&folder.join(file), host, packets);
        assert_eq!(seen.map(|seen| seen.len() as u64), [tcp, udp], "{file} to {host:?}");
    }
}

#[test]
fn tshark_sees_the_same_attempts() {
    let Some(folder) = folder() else { return };
    for (file, host, packets, _, _) in CAPTURES {
        let path = folder.join(file);
        let seen = ours(&path, host, packets);
        let rules = [("tcp", "tcp.flags.ack == 0 && tcp.flags.reset == 0"), ("udp", "udp")];
        for ((protocol, rule), seen) in rules.into_iter().zip(seen) {
            let Some(expected) = theirs(&path, host, protocol, rule) else {
                return skip("tshark is not installed");
            };
            assert_eq!(seen, expected, "{protocol} in {file} to {host:?}");
        }
    }
}
