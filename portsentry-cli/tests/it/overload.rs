//! More hosts at the same time than the sentry can respond to.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use portsentry_testbed::{Signal, Testbed, holds_soon, require_root};

use crate::expected::{BLOCKED, FAILED, LOGGED};
use crate::forgery::Forger;
use crate::gate::Gate;
use crate::station::{Sentry, Station};

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-30"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "2"
BLOCK_RATE = "0"
KILL_RUN_CMD = "read line < {dir}/gate"
"#;

/// Returns the resident memory in KiB.
fn memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("VmRSS");
    line.split_whitespace().nth(1).expect("number").parse().expect("number")
}

#[test]
fn ten_thousand_simultaneous_hosts_are_logged_in_bounded_memory() {
    const HOSTS: u32 = 10_000;
    /// Highest number of responses in progress in the engine.
    const UNDER_WAY: usize = 1_024;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let gate = Gate::new(&station);
    let forger = Forger::new(&bed);
    let sentry = station.start(&[]);
    let target = bed.host.v4().into();
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 1));
    let storm = |port| -> Vec<Vec<u8>> {
        let hosts = (first..first + HOSTS).map(|bits| IpAddr::V4(bits.into()));
        hosts.map(|host| forger.syn(host, target, port)).collect()
    };
    let logged = |sentry: &Sentry| {
        let lines = sentry.lines();
        lines.iter().filter(|line| line.text.ends_with(LOGGED)).count()
    };
    let wait_for_logged = |sentry: &Sentry, number: usize| {
        let all = holds_soon(|| logged(sentry) >= number);
        assert!(all, "{} of {number}", logged(sentry));
    };
    let too_many = HOSTS as usize - UNDER_WAY;
    forger.send(&storm(20), 20_000);
    wait_for_logged(&sentry, too_many);
    let after_one = memory(sentry.pid());
    // Hosts with a response in progress wait; the others exceed the limit again.
    forger.send(&storm(21), 20_000);
    wait_for_logged(&sentry, 2 * too_many);
    let after_two = memory(sentry.pid());
    assert!(after_two < after_one + 4_096, "{after_one} KiB, then {after_two} KiB");
    assert!(after_two < 65_536, "{after_two} KiB");

    sentry.signal(Signal::TERM);
    // Now no response is started any more, and those in progress end.
    let _open = gate.open();
    let ended = sentry.ended();
    assert_eq!(ended.events().len(), 2 * HOSTS as usize);
    let printed =
        format!("Did not respond to {} probes: too many responses in progress", 2 * too_many);
    assert!(ended.stdout.contains(&printed), "{printed}");
    let ends_with = |end| ended.events().iter().filter(|line| line.ends_with(end)).count();
    // Each host with a response has two probes, whether the response ran or not.
    let (blocked, failed) = (ends_with(BLOCKED), ends_with(FAILED));
    assert_eq!((ends_with(LOGGED), blocked + failed), (2 * too_many, 2 * UNDER_WAY));
    let not_started =
        format!("{} responses were not started and 0 did not finish in time", failed / 2);
    assert!(ended.stderr.contains(&not_started), "{not_started}: {:?}", ended.stderr);
    let in_file = fs::read(station.path("blocked")).expect("read").len() / 6;
    assert_eq!(in_file, blocked / 2);
}
