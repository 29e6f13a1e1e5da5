//! Gateways and name servers that appear or change while the sentry runs.

use std::fs;
use std::net::IpAddr;
use std::thread::sleep;
use std::time::Duration;

use portsentry_testbed::{Testbed, require_root};

use super::{BLOCK, Bench};
use crate::blocking::Etc;
use crate::station::{Ended, PROGRAM, Sentry, Station};

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// Runs commands of `ip`; `DEV` is the interface of the host.
fn ip(bed: &Testbed, commands: &[&str]) {
    for command in commands {
        let command = command.replace("DEV", bed.host.interface());
        let words: Vec<&str> = command.split(' ').collect();
        bed.host.ip(&words);
    }
}

/// Clients of DHCP and networkd set the address first and the route later.
#[test]
fn a_gateway_that_comes_after_its_address_is_spared() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut bench = Bench::new(&bed);
    for (number, delay) in [0, 20, 200].into_iter().enumerate() {
        let net = format!("203.0.{number}");
        for (add, route, gateway) in [
            (
                format!("address add {net}.2/24 dev DEV"),
                format!("route add default via {net}.1 metric 9{number}"),
                format!("{net}.1"),
            ),
            (
                format!("address add 2001:db8:{number}::2/64 dev DEV nodad"),
                format!("-6 route add default via 2001:db8:{number}::1 metric 9{number}"),
                format!("2001:db8:{number}::1"),
            ),
            (
                format!("address add 2001:db8:{number}::3/64 dev DEV nodad"),
                // As the kernel adds it for an advertisement of a router.
                format!(
                    "-6 route add default via fe80::{number}:1 dev DEV proto ra metric 8{number}"
                ),
                format!("fe80::{number}:1"),
            ),
        ] {
            ip(&bed, &[&add]);
            sleep(Duration::from_millis(delay));
            ip(&bed, &[&route]);
            bench.spares(address(&gateway), &format!("{delay} ms after its address"));
        }
    }
    bench.into_sentry().stop();
}

#[test]
fn a_gateway_that_changes_is_spared() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    ip(
        &bed,
        &[
            "address add 203.0.113.9/24 dev DEV",
            "address add 2001:db8::9/64 dev DEV nodad",
            "route add default via 203.0.113.1",
            "-6 route add default via 2001:db8::1",
        ],
    );
    let mut bench = Bench::new(&bed);
    for (command, gateway) in [
        ("route replace default via 203.0.113.2", "203.0.113.2"),
        ("-6 route replace default via 2001:db8::2", "2001:db8::2"),
        ("-6 route replace default via fe80::2 dev DEV", "fe80::2"),
    ] {
        ip(&bed, &[command]);
        bench.spares(address(gateway), command);
    }
    // An interface that restarts loses its routes for a moment.
    ip(&bed, &["route delete default"]);
    bench.spares(address("203.0.113.2"), "right after its route was deleted");
    bench.into_sentry().stop();
}

#[test]
fn gateways_of_all_kinds_of_routes_are_spared() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    ip(&bed, &["address add 203.0.113.9/24 dev DEV"]);
    let mut bench = Bench::new(&bed);
    for (command, gateways) in [
        // Policy routing, and the table of a VRF.
        ("route add default via 203.0.113.10 table 77", &["203.0.113.10"][..]),
        ("-6 route add default via fe80::11 dev DEV table 1077", &["fe80::11"]),
        // The two halves that a VPN adds.
        ("route add 0.0.0.0/1 via 203.0.113.12", &["203.0.113.12"]),
        ("route add 128.0.0.0/1 via 203.0.113.13", &["203.0.113.13"]),
        (
            "route add default nexthop via 203.0.113.14 nexthop via 203.0.113.15",
            &["203.0.113.14", "203.0.113.15"],
        ),
        ("nexthop add id 7 via 203.0.113.16 dev DEV", &["203.0.113.16"]),
        ("route add 192.0.2.0/24 via 203.0.113.17", &["203.0.113.17"]),
    ] {
        ip(&bed, &[command]);
        for gateway in gateways {
            bench.spares(address(gateway), command);
        }
    }
    bench.into_sentry().stop();
}

#[test]
fn a_name_server_that_changes_is_spared() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let etc = Etc::of(&bed.host);
    etc.write("resolv.conf", "nameserver 198.51.100.1\n");
    let mut bench = Bench::new(&bed);
    bench.spares(address("198.51.100.1"), "since the start");
    for server in ["198.51.100.2", "2001:db8:53::2", "fe80::53"] {
        let zone = if server.starts_with("fe80") { "%host0" } else { "" };
        etc.write("resolv.conf", &format!("nameserver {server}{zone}\n"));
        bench.spares(address(server), "after a change");
    }
    // The responder finds the change when it is asked for a response.
    let ended = bench.into_sentry().stop();
    let line = "Not responding to 198.51.100.2: it is a name server of this host";
    let printed = ended.stdout.iter().filter(|printed| *printed == line).count();
    assert_eq!(printed, 1, "{ended:#?}");
    let counted = " probes without a response to protect this host";
    assert!(ended.stderr[0].contains(counted), "{ended:#?}");
}

/// Starts the program in a mount namespace in which `upstream` of the station is the file of
/// systemd-resolved.
fn behind_resolved(station: &Station<'_>, arguments: &[&str]) -> std::process::Command {
    let upstream = station.path("upstream");
    let script = format!(
        "mount -t tmpfs none /run && mkdir -p /run/systemd/resolve && \
         touch /run/systemd/resolve/resolv.conf && \
         mount --bind {} /run/systemd/resolve/resolv.conf && exec \"$0\" \"$@\"",
        upstream.display()
    );
    let mut command = station.namespace().command("unshare");
    command.args(["--mount", "sh", "-c", &script, PROGRAM]).args(arguments);
    command
}

#[test]
fn name_servers_behind_a_local_forwarder_are_spared_and_listed() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let etc = Etc::of(&bed.host);
    etc.write("resolv.conf", "nameserver 127.0.0.53\noptions edns0 trust-ad\n");
    let station = Station::with(&bed.host, BLOCK);
    station.write("upstream", "nameserver 198.51.100.53\n");
    ip(&bed, &["address add 203.0.113.9/24 dev DEV", "route add default via 203.0.113.1 table 77"]);
    let configuration = station.path("portsentry.conf").display().to_string();
    let checked = Ended::running(behind_resolved(&station, &["check", "-c", &configuration]));
    for line in [
        "protected      203.0.113.9: own address",
        "protected      203.0.113.1: default gateway in table 77 on host0",
        "protected      198.51.100.53: name server in /run/systemd/resolve/resolv.conf",
    ] {
        assert!(checked.stdout.iter().any(|it| it == line), "{line}: {checked:#?}");
    }
    assert!(!checked.stdout.iter().any(|it| it.starts_with("not known")), "{checked:#?}");

    let sentry = Sentry::watching(behind_resolved(&station, &["-c", &configuration]));
    let mut bench = Bench::of(&bed, station, sentry);
    bench.spares(address("198.51.100.53"), "since the start");
    fs::write(bench.station.path("upstream"), "nameserver 198.51.100.54\n").expect("write");
    bench.spares(address("198.51.100.54"), "after a change");
    bench.into_sentry().stop();

    // Without that file, the servers are not known.
    let station = Station::with(&bed.host, BLOCK);
    let mut command = bed.host.command(PROGRAM);
    command.arg("check").arg("-c").arg(station.path("portsentry.conf"));
    let checked = Ended::running(command);
    let unknown = "not known      the servers to which the local name server 127.0.0.53 forwards";
    let stated = checked.stdout.iter().any(|line| line.starts_with(unknown));
    let is_used_here = std::path::Path::new("/run/systemd/resolve/resolv.conf").exists();
    assert!(stated || is_used_here, "{checked:#?}");
}

/// `NEVER_BLOCK` replaces the list, except for own addresses.
#[test]
fn own_addresses_are_spared_in_any_case() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}NEVER_BLOCK = \"192.0.2.0/24\""));
    let sentry = station.start(&[]);
    let mut bench = Bench::of(&bed, station, sentry);
    ip(&bed, &["address add 203.0.113.9/24 dev DEV", "route add default via 203.0.113.1"]);
    bench.spares(address("203.0.113.9"), "an address that was added");
    bench.spares(address("192.0.2.7"), "in NEVER_BLOCK");
    assert_eq!(bench.responses_to(address("203.0.113.1")), 1, "NEVER_BLOCK has no gateway");
    bench.into_sentry().stop();
}
