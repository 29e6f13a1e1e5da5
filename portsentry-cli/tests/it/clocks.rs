//! Clocks with nonsensical values: neither the times in packets nor the machine's own
//! clocks may affect a decision.

use std::fs;
use std::net::IpAddr;
use std::process::Command;

use portsentry_testbed::{Background, SOON, Signal, Testbed, require_root};
use rustix::process::kill_process;
use tempfile::TempDir;

use crate::expected::{BELOW_TRIGGER, BLOCKED, LOGGED, SYN, event};
use crate::forgery::{capture, syn_frame};
use crate::probe::{both_families, syn};
use crate::station::{Ended, PROGRAM, Station, only_child};

/// Returns the capture with these times, in seconds and microseconds, for its packets.
fn at(mut bytes: Vec<u8>, times: &[(u32, u32)]) -> Vec<u8> {
    let mut record = 24;
    for (seconds, micros) in times {
        let length = u32::from_le_bytes(bytes[record + 8..record + 12].try_into().expect("four"));
        bytes[record..record + 4].copy_from_slice(&seconds.to_le_bytes());
        bytes[record + 4..record + 8].copy_from_slice(&micros.to_le_bytes());
        record += 16 + length as usize;
    }
    assert_eq!(record, bytes.len());
    bytes
}

#[test]
fn packets_with_absurd_times_are_logged_like_all_others() {
    const HOST: [u8; 4] = [198, 51, 100, 1];
    let folder = TempDir::new().expect("folder");
    fs::write(folder.path().join("conf"), "TCP_PORTS = \"1-99\"\nSCAN_TRIGGER = \"4\"\n")
        .expect("write");
    let source: IpAddr = [192, 0, 2, 7].into();
    let frames: Vec<_> =
        (1..=9).map(|port| syn_frame(([2; 6], [4; 6]), source, HOST.into(), port)).collect();
    let sane = capture(&frames);
    let top = u32::MAX;
    let absurd = [
        (0, 0),
        (top, top),
        (1 << 31, 999_999),
        ((1 << 31) - 1, 1_000_000),
        (1, top),
        (1_700_000_000, 0),
        (1_600_000_000, 1 << 31),
        (top, 0),
        (0, 1),
    ];
    let replay = |bytes: &[u8]| {
        fs::write(folder.path().join("scan.pcap"), bytes).expect("write");
        let mut command = Command::new(PROGRAM);
        command.current_dir(folder.path()).args(["replay", "-c", "conf", "scan.pcap"]);
        Ended::running(command)
    };
    let expected = replay(&sane);
    let ends = expected.events().iter().filter(|line| line.ends_with(BELOW_TRIGGER)).count();
    assert_eq!((expected.events().len(), ends), (9, 3));
    assert!(expected.events()[8].ends_with(LOGGED));
    let ended = replay(&at(sane, &absurd));
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert_eq!(ended.stdout, expected.stdout);
    assert_eq!(ended.stderr, expected.stderr);
}

/// Starts a sentry in a time namespace whose clocks since boot are `offset` seconds ahead.
fn sentry_ahead(station: &Station<'_>, offset: u64) -> Background {
    let sentry = station.command(&[]);
    let mut command = Command::new("unshare");
    let offset = offset.to_string();
    command.args(["--time", "--fork", "--monotonic", &offset, "--boottime", &offset, "--"]);
    command.arg(sentry.get_program()).args(sentry.get_args());
    let mut process = Background::spawn(command);
    process.wait_for_line(SOON, |line| line == "Portsentry is now active and listening.");
    process
}

#[test]
fn the_uptime_of_the_machine_does_not_matter() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let [(v4, target_v4), (v6, target_v6)] = both_families(&bed);
    // Ten minutes, 34 years, and a number of seconds that exceeds 32 bits.
    for offset in [600, 1 << 30, (1 << 32) + 5] {
        let station = Station::with(
            &bed.host,
            r#"
TCP_PORTS = "20-30"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "2"
BLOCK_RATE = "1"
SCAN_TRIGGER = "2"
KILL_RUN_CMD = "true"
"#,
        );
        let mut sentry = sentry_ahead(&station, offset);
        for (source, target, second) in [(v4, target_v4, BLOCKED), (v6, target_v6, LOGGED)] {
            for (port, end) in [(20, BELOW_TRIGGER), (21, second)] {
                syn(&bed.scanner, source, target, port);
                let line = event(source, SYN, port, end);
                sentry.wait_for_line(SOON, |text| text == line);
            }
        }
        kill_process(only_child(sentry.pid()), Signal::TERM).expect("kill");
        let ended = Ended::of(&mut sentry);
        assert_eq!(ended.status.code(), Some(0), "{offset}: {ended:#?}");
        let printed = "Did not respond to 1 probes: more than 1 responses per minute (BLOCK_RATE)";
        assert!(ended.stdout.iter().any(|line| line == printed), "{offset}: {ended:#?}");
    }
}
