//! Slow commands, failing commands, and many commands.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use portsentry_testbed::{SOON, Signal, Testbed, require_root};

use crate::expected::{
    BLOCKED, FAILED, SYN, already_blocked, blocked_in_part, command_run, event, nothing_worked,
    route_dropped,
};
use crate::gate::Gate;
use crate::probe::{both_families, syn};
use crate::station::{Sentry, Station};

const RUN: &str = r#"
TCP_PORTS = "20-1000"
HISTORY_FILE = "{dir}/history"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "2"
BLOCK_RATE = "0"
"#;

/// Adds `number` addresses to the scanner, in the host's network.
fn aliases(bed: &Testbed, number: u8) -> Vec<IpAddr> {
    let [a, b, c, _] = bed.scanner.v4().octets();
    let taken = [bed.scanner.v4(), bed.host.v4()];
    let free = (1..=254).map(|last| Ipv4Addr::new(a, b, c, last)).filter(|it| !taken.contains(it));
    free.take(number.into())
        .map(|alias| {
            let with_prefix = format!("{alias}/24");
            bed.scanner.ip(&["address", "add", &with_prefix, "dev", bed.scanner.interface()]);
            alias.into()
        })
        .collect()
}

#[test]
fn a_slow_command_delays_only_its_own_host() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let [(slow, target), _] = both_families(&bed);
    let command = format!("[ $TARGET$ != {slow} ] || read line < {{dir}}/gate");
    let station = Station::with(&bed.host, &format!("{RUN}KILL_RUN_CMD = \"{command}\""));
    let gate = Gate::new(&station);
    let others = aliases(&bed, 20);
    let mut sentry = station.start(&[]);
    for port in 20..25 {
        syn(&bed.scanner, slow, target, port);
    }

    let mut delays = Vec::new();
    for other in others {
        let sent = Instant::now();
        syn(&bed.scanner, other, target, 22);
        let line = sentry.wait_for(&event(other, SYN, 22, BLOCKED));
        delays.push(line.at.duration_since(sent));
    }
    delays.sort();
    // Uses the median, because a busy machine delays some responses. No response waited for
    // the slow command, which is still running.
    assert!(delays[10] < Duration::from_millis(100), "{delays:?}");
    assert!(sentry.lines().iter().all(|line| !line.text.contains(&format!("[{slow}]"))));

    let _open = gate.open();
    sentry.wait_for(&event(slow, SYN, 20, BLOCKED));
    for port in 21..25 {
        sentry.wait_for(&already_blocked(slow));
        sentry.wait_for(&event(slow, SYN, port, BLOCKED));
    }
    sentry.stop();
}

/// Returns whether a process runs with this argument.
fn runs(argument: &str) -> bool {
    fs::read_dir("/proc").expect("proc").flatten().any(|process| {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).any(|word| word == argument.as_bytes())
    })
}

#[track_caller]
fn ends(argument: &str) {
    let deadline = Instant::now() + SOON;
    while runs(argument) {
        assert!(Instant::now() < deadline, "a process still runs with {argument}");
        std::thread::yield_now();
    }
}

/// Returns an argument of `sleep` that no other test uses.
fn own_sleep(digits: u32) -> String {
    format!("{}.{digits}", 100_000 + std::process::id())
}

#[test]
fn a_command_beyond_its_timeout_is_killed_with_its_children() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let sleep = own_sleep(1);
    let command = format!("sleep {sleep} & sleep {sleep}; wait");
    let more = format!("RESPONSE_TIMEOUT = \"1\"\nKILL_RUN_CMD = \"{command}\"");
    let station = Station::with(&bed.host, &format!("{RUN}{more}"));
    let mut sentry = station.start(&[]);
    for (source, target) in both_families(&bed) {
        syn(&bed.scanner, source, target, 22);
        sentry.wait_for(&event(source, SYN, 22, FAILED));
    }
    ends(&sleep);
    let ended = sentry.stop();
    let expected = both_families(&bed).map(|(source, _)| {
        let late = format!("KILL_RUN_CMD for {source}: timed out after 1 s (RESPONSE_TIMEOUT)");
        [late, nothing_worked(source)]
    });
    assert_eq!(ended.stderr[..4], expected.concat());
    assert_eq!(fs::read(station.path("blocked")).expect("read"), []);
}

/// Asserts that a failed command is logged, that the host is not recorded as blocked, and
/// that the next probe within the retry delay runs no command.
#[track_caller]
fn check_failure(bed: &Testbed, mut sentry: Sentry, station: &Station<'_>, printed: &str) {
    let [(source, target), _] = both_families(bed);
    syn(&bed.scanner, source, target, 22);
    sentry.wait_for(&event(source, SYN, 22, FAILED));
    syn(&bed.scanner, source, target, 23);
    sentry.wait_for(&event(source, SYN, 23, FAILED));
    let ended = sentry.stop();
    let [failed, all_failed, summary] = &ended.stderr[..] else { panic!("{ended:#?}") };
    let expected = format!("KILL_RUN_CMD for {source}: {printed}");
    assert!(failed.starts_with(&expected) && summary.contains(" 2 probes"), "{ended:#?}");
    assert_eq!(*all_failed, nothing_worked(source));
    assert_eq!(ended.events().len(), 2);
    assert_eq!(fs::read(station.path("blocked")).expect("read"), []);
}

#[test]
fn a_failed_command_blocks_no_host() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let check = |command: &str, printed: &str| {
        let station = Station::with(&bed.host, &format!("{RUN}KILL_RUN_CMD = \"{command}\""));
        check_failure(&bed, station.start(&[]), &station, printed);
    };
    check("exit 1", "exit status 1");
    check("echo not now >&2; exit 3", "exit status 3; output: not now");
    check("/nonexistent/program $TARGET$", "exit status 127 (command not found)");
    check("/etc/passwd", "exit status 126 (not executable)");
    check("kill -9 $$", "killed by signal 9");
}

#[test]
fn a_missing_shell_blocks_no_host() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{RUN}KILL_RUN_CMD = \"true\""));
    // In a separate mount namespace, a file that cannot be executed replaces the shell.
    let mut command = bed.host.command("unshare");
    let script = "mount --bind /dev/null /bin/sh && exec \"$@\"";
    command.args(["--mount", "sh", "-c", script, "sh", crate::station::PROGRAM, "-c"]);
    command.arg(station.path("portsentry.conf"));
    check_failure(&bed, Sentry::watching(command), &station, "cannot run /bin/sh: ");
}

#[test]
fn errors_precede_the_event_that_they_explain() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{RUN}KILL_RUN_CMD = \"exit 1\""));
    let [(source, target), _] = both_families(&bed);
    // Both streams go to one pipe, as on a terminal.
    let mut command = bed.host.command("sh");
    command.args(["-c", "exec \"$@\" 2>&1", "sh", crate::station::PROGRAM, "-c"]);
    command.arg(station.path("portsentry.conf"));
    let mut sentry = Sentry::watching(command);
    syn(&bed.scanner, source, target, 22);
    sentry.wait_for(&event(source, SYN, 22, FAILED));
    let ended = sentry.stop();
    let expected = [
        format!("KILL_RUN_CMD for {source}: exit status 1"),
        nothing_worked(source),
        event(source, SYN, 22, FAILED),
        "Portsentry is shutting down".to_owned(),
    ];
    let [before @ .., summary] = &ended.stdout[..] else { panic!("{ended:#?}") };
    assert!(before.ends_with(&expected), "{ended:#?}");
    assert!(summary.contains(" 1 probes"), "{ended:#?}");
}

#[test]
fn one_successful_action_is_enough() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let check = |route: &str, command: &str, done: fn(IpAddr, &str) -> String, failed: &str| {
        let route_key = format!("KILL_ROUTE = \"{route}\"");
        let command_key = format!("KILL_RUN_CMD = \"{command}\"");
        let text = format!("{RUN}BLOCK_TCP = \"1\"\n{route_key}\n{command_key}");
        let station = Station::with(&bed.host, &text);
        let [(source, target), _] = both_families(&bed);
        let mut sentry = station.start(&[]);
        syn(&bed.scanner, source, target, 22);
        sentry.wait_for(&event(source, SYN, 22, BLOCKED));
        let ended = sentry.stop();
        let worked = if route.starts_with("true") { route } else { command };
        let worked = worked.replace("$TARGET$", &source.to_string());
        let expected = [done(source, &worked), event(source, SYN, 22, BLOCKED)];
        assert_eq!(ended.between(), expected);
        assert_eq!(ended.stderr[0], format!("{failed} for {source}: exit status 1"));
        assert_eq!(ended.stderr[1], blocked_in_part(source, failed));
        assert_eq!(ended.stderr.len(), 3, "no message that all actions failed: {ended:#?}");
    };
    check("exit 1 # $TARGET$", "true", command_run, "KILL_ROUTE");
    check("true $TARGET$", "exit 1", route_dropped, "KILL_RUN_CMD");
}

#[test]
fn a_failed_response_is_retried_later() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    // The first run of this command fails.
    let command = "KILL_RUN_CMD = \"[ -e {dir}/tried ] || { touch {dir}/tried; false; }\"";
    let station = Station::with(&bed.host, &format!("{RUN}{command}"));
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 20);
    let failed = sentry.wait_for(&event(source, SYN, 20, FAILED));
    let mut probes = 0;
    let blocked = loop {
        std::thread::sleep(Duration::from_millis(50));
        let port = 21 + probes;
        syn(&bed.scanner, source, target, port);
        let line = sentry.wait_for_part(&format!("port: [{port}]"));
        if line.text == event(source, SYN, port, BLOCKED) {
            break line;
        }
        assert_eq!(line.text, event(source, SYN, port, FAILED));
        probes += 1;
    };
    let after = blocked.at.duration_since(failed.at);
    assert!(after > Duration::from_millis(4_900), "{after:?}");
    assert!(after < Duration::from_secs(9), "{after:?}");
    sentry.stop();
}

#[test]
fn a_short_response_is_awaited_at_shutdown() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let command = "KILL_RUN_CMD = \"echo > {dir}/started; read line < {dir}/gate\"";
    let station = Station::with(&bed.host, &format!("{RUN}{command}"));
    let gate = Gate::new(&station);
    let [(source, target), _] = both_families(&bed);
    let sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 22);
    syn(&bed.scanner, source, target, 23);
    wait_for_file(&station, "started");
    sentry.signal(Signal::TERM);
    let _open = gate.open();
    let ended = sentry.ended();
    assert_eq!(ended.events(), [22, 23].map(|port| event(source, SYN, port, BLOCKED)));
    assert_eq!(ended.stderr.len(), 1, "{ended:#?}");
    assert_eq!(fs::read(station.path("blocked")).expect("read").len(), 6);
}

#[track_caller]
fn wait_for_file(station: &Station<'_>, name: &str) {
    let deadline = Instant::now() + SOON;
    while !station.path(name).exists() {
        assert!(Instant::now() < deadline, "{name} was not created in time");
        std::thread::yield_now();
    }
}

#[test]
fn an_unfinished_response_delays_shutdown_by_five_seconds() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let sleep = own_sleep(2);
    let command = format!("KILL_RUN_CMD = \"echo > {{dir}}/started; sleep {sleep}; true\"");
    let station = Station::with(&bed.host, &format!("{RUN}{command}"));
    let [(source, target), _] = both_families(&bed);
    let sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 22);
    syn(&bed.scanner, source, target, 23);
    wait_for_file(&station, "started");
    let asked = Instant::now();
    let ended = sentry.stop();
    let took = asked.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(8)).contains(&took), "{took:?}");
    assert_eq!(ended.events(), [22, 23].map(|port| event(source, SYN, port, FAILED)));
    let expected = [
        format!("KILL_RUN_CMD for {source}: stopped, because portsentry exits"),
        nothing_worked(source),
        "0 responses were not started and 1 did not finish in time".to_owned(),
    ];
    assert_eq!(ended.stderr[..3], expected);
    assert_eq!(fs::read(station.path("blocked")).expect("read"), []);
    // The responder has ended, so it must have killed the command before.
    ends(&sleep);
}
