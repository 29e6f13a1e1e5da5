//! Responses of which one action fails: the others are not repeated.

use std::fs;
use std::net::IpAddr;

use portsentry_testbed::{Signal, Testbed, require_root};

use crate::expected::{BLOCKED, SYN, already_blocked, blocked_in_part, denied, event};
use crate::probe::{both_families, syn};
use crate::station::{Sentry, Station};

/// The route fails until the file `repaired` exists.
const BLOCK: &str = r#"
TCP_PORTS = "20-30"
BLOCKED_FILE = "{dir}/blocked"
HOSTS_DENY_FILE = "{dir}/hosts.deny"
BLOCK_TCP = "1"
KILL_ROUTE = "test -e {dir}/repaired && echo route $TARGET$ >> {dir}/did"
KILL_HOSTS_DENY = "ALL: [$TARGET$]"
KILL_RUN_CMD = "echo command $TARGET$ >> {dir}/did"
"#;

/// Waits for the lines of a first probe, whose response succeeds in part.
fn wait_for_partial_block(sentry: &mut Sentry, source: IpAddr, port: u16) {
    sentry.wait_for(&event(source, SYN, port, BLOCKED));
    // Errors are on another stream.
    for error in
        [format!("KILL_ROUTE for {source}: exit status 1"), blocked_in_part(source, "KILL_ROUTE")]
    {
        sentry.wait_until(&error, || sentry.lines().iter().any(|line| line.text == error));
    }
}

fn blocked_size(station: &Station<'_>) -> u64 {
    fs::metadata(station.path("blocked")).map_or(0, |file| file.len())
}

#[test]
fn the_action_that_failed_is_tried_again_and_the_others_are_not() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, BLOCK);
    let routes = both_families(&bed);
    let mut sentry = station.start(&[]);
    for (source, target) in routes {
        syn(&bed.scanner, source, target, 22);
        wait_for_partial_block(&mut sentry, source, 22);
    }
    assert_eq!(blocked_size(&station), 0, "the hosts are blocked only in part");
    // The record survives a reload.
    sentry.signal(Signal::HUP);
    sentry.wait_for("Configuration reloaded; changed: nothing");
    station.write("repaired", "");
    for (source, target) in routes {
        let route = format!("route {source}");
        sentry.wait_until("the route is tried again", || {
            syn(&bed.scanner, source, target, 23);
            station.lines("did").contains(&route)
        });
        sentry.wait_for(&already_blocked(source));
        sentry.wait_for(&event(source, SYN, 23, BLOCKED));
    }
    sentry.wait_until("both hosts are recorded", || blocked_size(&station) == 6 + 18);
    sentry.stop();
    let [v4, v6] = routes.map(|(source, _)| source);
    let expected = [("command", v4), ("command", v6), ("route", v4), ("route", v6)];
    assert_eq!(station.lines("did"), expected.map(|(what, host)| format!("{what} {host}")));
    assert_eq!(station.lines("hosts.deny"), [v4, v6].map(|host| format!("ALL: [{host}]")));
}

#[test]
fn a_host_that_is_blocked_in_part_gets_a_whole_response_after_a_restart() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, BLOCK);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 22);
    wait_for_partial_block(&mut sentry, source, 22);
    sentry.stop();

    station.write("repaired", "");
    let mut sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 23);
    sentry.wait_for(&format!("Host {source} already in hosts.deny file, skipping."));
    sentry.wait_for(&event(source, SYN, 23, BLOCKED));
    sentry.stop();
    let expected = ["command", "route", "command"].map(|what| format!("{what} {source}"));
    assert_eq!(station.lines("did"), expected);
    assert_eq!(blocked_size(&station), 6);
}

#[test]
fn without_a_blocked_file_each_probe_tries_all_actions() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}BLOCKED_FILE = \"\""));
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    for port in [22, 23] {
        syn(&bed.scanner, source, target, port);
        wait_for_partial_block(&mut sentry, source, port);
    }
    let ended = sentry.stop();
    assert!(ended.stdout.contains(&denied(source, &format!("ALL: [{source}]"))), "{ended:#?}");
    assert_eq!(station.lines("did"), [0; 2].map(|_| format!("command {source}")));
}
