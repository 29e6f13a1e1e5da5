//! Responses: their effects, their lines, and the blocked set.

use std::fs;
use std::net::IpAddr;

use portsentry_testbed::{Testbed, require_root};

use crate::expected::{
    BELOW_TRIGGER, BLOCKED, Kind, LOGGED, SYN, UDP, already_blocked, command_run, denied, event,
    route_dropped,
};
use crate::probe::{both_families, datagram, settle, syn};
use crate::station::Station;

/// Blocks with all actions; each command appends a line to `did`.
const BLOCK: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30"
HISTORY_FILE = "{dir}/history"
BLOCKED_FILE = "{dir}/blocked"
HOSTS_DENY_FILE = "{dir}/hosts.deny"
BLOCK_TCP = "1"
BLOCK_UDP = "1"
KILL_ROUTE = "echo route $TARGET$ $PORT$ $MODE$ >> {dir}/did"
KILL_HOSTS_DENY = "ALL: [$TARGET$]"
KILL_RUN_CMD = "echo command $TARGET$ $PORT$ $MODE$ | cat >> {dir}/did"
"#;

fn probe(bed: &Testbed, (source, target): (IpAddr, IpAddr), kind: Kind, port: u16) {
    match kind.protocol {
        "TCP" => syn(&bed.scanner, source, target, port),
        _ => datagram(&bed.scanner, source, target, port),
    }
}

/// The contract lines of the actions, for a probe of `port`.
struct Done {
    route: String,
    deny: String,
    command: String,
}

fn done(station: &Station<'_>, host: IpAddr, port: u16) -> Done {
    let command = |what: &str, to: &str| {
        station.expand(&format!("echo {what} {host} {port} stealth {to} {{dir}}/did"))
    };
    Done {
        route: route_dropped(host, &command("route", ">>")),
        deny: denied(host, &format!("ALL: [{host}]")),
        command: command_run(host, &command("command", "| cat >>")),
    }
}

/// Asserts that a probe of port 22 by a new host, under `BLOCK` and `more`, is logged with
/// the lines that `expected` returns. Tests TCP over one family and UDP over the other.
#[track_caller]
fn check(bed: &Testbed, more: &str, expected: impl Fn(IpAddr, Done) -> Vec<String>) {
    for route in both_families(bed) {
        for kind in [SYN, UDP] {
            let station = Station::with(&bed.host, &format!("{BLOCK}{more}"));
            let mut sentry = station.start(&[]);
            probe(bed, route, kind, 22);
            let source = route.0;
            let mut lines = expected(source, done(&station, source, 22));
            lines.push(event(source, kind, 22, BLOCKED));
            sentry.wait_for(lines.last().expect("line"));
            let ended = sentry.stop();
            assert_eq!(ended.between(), lines, "{more}");
            assert_eq!(ended.stderr.len(), 1, "only the summary: {ended:#?}");
            assert_eq!(station.history(), [event(source, kind, 22, BLOCKED)]);
        }
    }
}

#[test]
fn actions_are_logged_in_the_order_of_execution() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    check(&bed, "", |_, done| vec![done.route, done.deny, done.command]);
    let first = "KILL_RUN_CMD_FIRST = \"1\"";
    check(&bed, first, |_, done| vec![done.command, done.route, done.deny]);
    let alone = "BLOCK_TCP = \"2\"\nBLOCK_UDP = \"2\"";
    check(&bed, alone, |_, done| vec![done.command]);
    let no_commands = "KILL_ROUTE = \"\"\nKILL_RUN_CMD = \"\"";
    check(&bed, no_commands, |_, done| vec![done.deny]);
}

#[test]
fn actions_have_their_documented_effect() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, BLOCK);
    station.write("hosts.deny", "# mine\nALL: 192.0.2.1");
    let [v4, v6] = both_families(&bed);
    let mut sentry = station.start(&[]);
    syn(&bed.scanner, v4.0, v4.1, 22);
    sentry.wait_for(&event(v4.0, SYN, 22, BLOCKED));
    datagram(&bed.scanner, v6.0, v6.1, 23);
    sentry.wait_for(&event(v6.0, UDP, 23, BLOCKED));
    // A blocked host gets no further response.
    syn(&bed.scanner, v4.0, v4.1, 24);
    sentry.wait_for(&already_blocked(v4.0));
    sentry.wait_for(&event(v4.0, SYN, 24, BLOCKED));
    sentry.stop();

    let (v4, v6) = (v4.0, v6.0);
    let expected = [("route", v4, 22), ("command", v4, 22), ("route", v6, 23), ("command", v6, 23)];
    let expected = expected.map(|(what, host, port)| format!("{what} {host} {port} stealth"));
    assert_eq!(station.lines("did"), expected);
    let denied = [
        "# mine".to_owned(),
        "ALL: 192.0.2.1".to_owned(),
        format!("ALL: [{v4}]"),
        format!("ALL: [{v6}]"),
    ];
    assert_eq!(station.lines("hosts.deny"), denied);
    assert_eq!(fs::read(station.path("blocked")).expect("read"), records(&[v4, v6]));
}

/// Returns a blocked file with these hosts, in its documented format.
fn records(hosts: &[IpAddr]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for host in hosts {
        match host {
            IpAddr::V4(v4) => {
                bytes.extend(2_u16.to_ne_bytes());
                bytes.extend(v4.octets());
            }
            IpAddr::V6(v6) => {
                bytes.extend(10_u16.to_ne_bytes());
                bytes.extend(v6.octets());
            }
        }
    }
    bytes
}

#[test]
fn a_host_is_blocked_once_across_restarts() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, BLOCK);
    let routes = both_families(&bed);
    // The blocked file already contains one of the hosts.
    fs::write(station.path("blocked"), records(&[routes[1].0])).expect("write");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(station.path("blocked"), fs::Permissions::from_mode(0o600)).expect("chmod");

    let mut sentry = station.start(&[]);
    syn(&bed.scanner, routes[0].0, routes[0].1, 22);
    sentry.wait_for(&event(routes[0].0, SYN, 22, BLOCKED));
    sentry.stop();
    assert_eq!(station.lines("did").len(), 2);

    let mut sentry = station.start(&[]);
    for (source, target) in routes {
        syn(&bed.scanner, source, target, 23);
        sentry.wait_for(&already_blocked(source));
        sentry.wait_for(&event(source, SYN, 23, BLOCKED));
    }
    sentry.stop();
    assert_eq!(station.lines("did").len(), 2, "there must be no further response");
    let hosts = [routes[1].0, routes[0].0];
    assert_eq!(fs::read(station.path("blocked")).expect("read"), records(&hosts));
}

/// The file has enough records for the first probe to arrive during their restoration.
#[test]
fn a_host_in_a_long_blocked_file_is_known_from_its_first_probe() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, BLOCK);
    let routes = both_families(&bed);
    let others = (0..500_000).map(|number: u32| IpAddr::V4((0x0a00_0000 | number).into()));
    let hosts: Vec<IpAddr> = others.chain(routes.map(|(source, _)| source)).collect();
    fs::write(station.path("blocked"), records(&hosts)).expect("write");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(station.path("blocked"), fs::Permissions::from_mode(0o600)).expect("chmod");

    let mut sentry = station.start(&[]);
    for (source, target) in routes {
        syn(&bed.scanner, source, target, 22);
        sentry.wait_for(&event(source, SYN, 22, BLOCKED));
    }
    sentry.stop();
    assert!(!station.path("did").exists(), "there must be no response");
}

#[test]
fn without_a_blocked_file_each_probe_triggers_a_response() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}BLOCKED_FILE = \"\""));
    for (source, target) in both_families(&bed) {
        let mut sentry = station.start(&[]);
        let first = done(&station, source, 22);
        let second = done(&station, source, 23);
        let expected = [
            first.route,
            first.deny,
            first.command,
            event(source, SYN, 22, BLOCKED),
            second.route,
            format!("Host {source} already in hosts.deny file, skipping."),
            second.command,
            event(source, SYN, 23, BLOCKED),
        ];
        for port in [22, 23] {
            syn(&bed.scanner, source, target, port);
        }
        sentry.wait_for(&expected[7]);
        assert_eq!(sentry.stop().between(), expected);
    }
}

#[test]
fn the_trigger_counts_probes_of_a_host() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}SCAN_TRIGGER = \"3\""));
    let mut sentry = station.start(&[]);
    for (source, target) in both_families(&bed) {
        let ends = [(22, BELOW_TRIGGER), (23, BELOW_TRIGGER), (24, BLOCKED)];
        for (port, _) in ends {
            syn(&bed.scanner, source, target, port);
        }
        for (port, end) in ends {
            sentry.wait_for(&event(source, SYN, port, end));
        }
    }
    sentry.stop();
}

#[test]
fn each_protocol_has_its_own_mode() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let markers = "UDP_PORTS = \"20-30,65000\"\nBLOCK_UDP = \"0\"";
    let station = Station::with(&bed.host, &format!("{BLOCK}{markers}"));
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    datagram(&bed.scanner, source, target, 22);
    sentry.wait_for(&event(source, UDP, 22, LOGGED));
    settle(&bed, target, &mut sentry, None);
    assert_eq!(station.lines("did"), [""; 0]);
    syn(&bed.scanner, source, target, 22);
    sentry.wait_for(&event(source, SYN, 22, BLOCKED));
    // A protocol in log-only mode triggers no response, even for a blocked host.
    datagram(&bed.scanner, source, target, 23);
    sentry.wait_for(&event(source, UDP, 23, LOGGED));
    sentry.stop();
}
