//! The time before the sentry watches: signals that arrive then, and starts that fail.
//! `checks` tests invalid configurations.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::time::Instant;

use portsentry_testbed::{Background, Namespace, SOON, Signal, require_root};
use rustix::process::{Pid, kill_process_group};

use crate::station::{Ended, Station};

const CONFIGURATION: &str = "TCP_PORTS = \"20-30\"\nBLOCKED_FILE = \"{dir}/blocked\"\n";

fn has_child(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).is_ok_and(|it| !it.is_empty())
}

/// Terminals and service managers signal all processes at the same time, including a
/// responder that does not handle signals yet.
#[test]
fn a_signal_to_both_processes_ends_a_start_cleanly() {
    let Some(root) = require_root() else { return };
    let alone = Namespace::isolated(root);
    let station = Station::with(&alone, CONFIGURATION);
    for signal in [Signal::INT, Signal::TERM].repeat(10) {
        let mut command = station.command(&["-i", "lo"]);
        command.process_group(0);
        let mut process = Background::spawn(command);
        let pid = process.pid();
        let deadline = Instant::now() + SOON;
        while !has_child(pid) {
            assert!(Instant::now() < deadline, "no responder");
            std::thread::yield_now();
        }
        let group = Pid::from_raw(pid.cast_signed()).expect("a pid");
        kill_process_group(group, signal).expect("kill");
        let ended = Ended::of(&mut process);
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    }
}

#[test]
fn a_failed_start_reports_a_record_that_it_cut_off() {
    let Some(root) = require_root() else { return };
    let alone = Namespace::isolated(root);
    let station = Station::with(&alone, CONFIGURATION);
    let path = station.path("blocked");
    fs::write(&path, [2, 0, 192]).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    let ended = Ended::running(station.command(&["-i", "nosuch0"]));
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    let is_reported = |lines: &[String]| {
        lines.iter().any(|line| line.contains("incomplete last record of 3 bytes"))
    };
    let cut = fs::read(&path).expect("read").is_empty();
    assert_eq!(
        cut,
        is_reported(&ended.stdout) || is_reported(&ended.stderr),
        "cut {cut}: {ended:#?}"
    );
}

#[test]
fn a_failed_start_keeps_the_pid_file_of_another_sentry() {
    let Some(root) = require_root() else { return };
    let alone = Namespace::isolated(root);
    let station = Station::with(&alone, CONFIGURATION);
    let pid = station.path("pid");
    let options = ["-i", "lo", "--pidfile", &station.expand("{dir}/pid")];
    let sentry = station.start(&options);
    let mut second = options;
    second[1] = "nosuch0";
    let ended = Ended::running(station.command(&second));
    assert_eq!(ended.status.code(), Some(1), "{ended:#?}");
    let number = fs::read_to_string(&pid).expect("the pid file");
    assert_eq!(number.trim(), sentry.pid().to_string());
}
