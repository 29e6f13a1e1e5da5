//! Real captures: the attempts that the decoder finds, compared with those of `tshark`.

use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use portsentry_capture::{CaptureFile, Drained, Sensor, Targets};
use portsentry_core::Protocol;
use portsentry_testbed::{CAPTURES, Capture, captures_folder};

/// Returns port and time in nanoseconds of every attempt over TCP and over UDP.
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

/// Returns the attempts that `tshark` reports; `None` if `tshark` is not installed.
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
fn real_captures_contain_the_expected_attempts() {
    let Some(folder) = captures_folder() else { return };
    for Capture { file, host, packets, tcp, udp } in CAPTURES {
        let seen = ours(&folder.join(file), host, packets);
        assert_eq!(seen.map(|seen| seen.len() as u64), [tcp, udp], "{file} to {host:?}");
    }
}

#[test]
fn tshark_reports_the_same_attempts() {
    let Some(folder) = captures_folder() else { return };
    for Capture { file, host, packets, .. } in CAPTURES {
        let path = folder.join(file);
        let seen = ours(&path, host, packets);
        let rules = [("tcp", "tcp.flags.ack == 0 && tcp.flags.reset == 0"), ("udp", "udp")];
        for ((protocol, rule), seen) in rules.into_iter().zip(seen) {
            let Some(expected) = theirs(&path, host, protocol, rule) else {
                let needed = std::env::var_os("CI").is_some_and(|ci| ci == "true");
                assert!(!needed, "tshark is not installed");
                return println!("skipped: tshark is not installed");
            };
            assert_eq!(seen, expected, "{protocol} in {file} to {host:?}");
        }
    }
}
