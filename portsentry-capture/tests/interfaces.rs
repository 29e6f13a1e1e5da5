//! Interfaces and addresses compared with the output of `ip`. Each test creates
//! its own network namespaces.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::os::fd::AsFd;

use portsentry_capture::{Interface, InterfaceMonitor};
use portsentry_testbed::{Namespace, Testbed, require_root};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;

/// Creates interfaces of every kind that need no hardware.
fn furnish(namespace: &Namespace) {
    let device = namespace.interface();
    for command in [
        &["link", "add", "br0", "type", "bridge"][..],
        &["link", "set", "br0", "up"],
        &["address", "add", "192.0.2.1", "peer", "192.0.2.2", "dev", "br0"],
        &["address", "add", "198.51.100.1/25", "broadcast", "198.51.100.127", "dev", "br0"],
        &["address", "add", "198.51.100.200/25", "dev", "br0"],
        &["address", "add", "2001:db8::1/64", "dev", "br0", "nodad"],
        &["address", "add", "2001:db8::a", "peer", "2001:db8::b", "dev", "br0", "nodad"],
        &["link", "add", "fifteen-bytes-0", "type", "bridge"],
        &["link", "add", "link", device, "name", "over.7", "type", "macvlan"],
        &["address", "add", "203.0.113.1/24", "dev", "over.7"],
        &["link", "add", "joined0", "type", "veth", "peer", "name", "joined1"],
        &["tuntap", "add", "tun0", "mode", "tun"],
        &["address", "add", "127.1.2.3/16", "dev", "lo"],
    ] {
        namespace.ip(command);
    }
}

#[test]
fn interfaces_are_those_that_ip_lists() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    furnish(&bed.host);
    let found = bed.host.enter(Interface::all).expect("interfaces");
    let found: BTreeSet<String> = found.iter().map(describe).collect();
    assert!(found.len() >= 8, "{found:#?}");
    assert_eq!(found, described_by_ip(&bed.host));
}

#[test]
fn a_table_in_many_messages_is_complete() {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    let mut batch = tempfile::NamedTempFile::new().expect("batch file");
    for number in 0..2_000 {
        let (high, low) = (number / 250, number % 250 + 1);
        writeln!(batch, "address add 10.66.{high}.{low}/32 dev lo").expect("batch file");
    }
    namespace.ip(&["-batch", &batch.path().to_string_lossy()]);
    let found = namespace.enter(Interface::all).expect("interfaces");
    assert_eq!(found[0].addresses.len(), 2_000 + 2);
    let found: BTreeSet<String> = found.iter().map(describe).collect();
    assert_eq!(found, described_by_ip(&namespace));
}

fn describe(interface: &Interface) -> String {
    let Interface { name, index, up, loopback, ethernet, kind, addresses, .. } = interface;
    let addresses: BTreeSet<String> = addresses
        .iter()
        .map(|address| format!("{} {:?}", address.network, address.broadcast))
        .collect();
    format!("{name} {index} {up} {loopback} {ethernet} {kind:?} {addresses:?}")
}

fn described_by_ip(namespace: &Namespace) -> BTreeSet<String> {
    let listed: Value =
        serde_json::from_str(&namespace.ip(&["-json", "-details", "address", "show"]))
            .expect("JSON of ip");
    let interfaces = listed.as_array().expect("list").iter();
    interfaces
        .map(|interface| {
            let flag =
                |name: &str| interface["flags"].as_array().expect("flags").contains(&name.into());
            let addresses: BTreeSet<String> = interface["addr_info"]
                .as_array()
                .expect("addresses")
                .iter()
                .map(|it| {
                    let broadcast: Option<IpAddr> =
                        it["broadcast"].as_str().map(|it| it.parse().expect("broadcast"));
                    let broadcast = broadcast.map(|it| match it {
                        IpAddr::V4(it) => it,
                        IpAddr::V6(it) => panic!("broadcast {it}"),
                    });
                    let local = it["local"].as_str().expect("local");
                    format!("{local}/{} {broadcast:?}", it["prefixlen"])
                })
                .collect();
            format!(
                "{} {} {} {} {} {:?} {addresses:?}",
                interface["ifname"].as_str().expect("name"),
                interface["ifindex"],
                flag("UP"),
                flag("LOOPBACK"),
                ["ether", "loopback"].contains(&interface["link_type"].as_str().expect("type")),
                interface["linkinfo"]["info_kind"].as_str().map(str::to_owned),
            )
        })
        .collect()
}

#[test]
fn own_addresses_are_those_that_the_kernel_routes_locally() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    furnish(&bed.host);
    let own = bed.host.enter(|| Interface::own_addresses(&Interface::all()?)).expect("addresses");
    let addresses = [
        "127.0.0.0",
        "127.0.0.1",
        "127.255.255.254",
        "127.255.255.255",
        "127.9.9.9",
        "192.0.2.1",
        "192.0.2.2",
        "198.51.100.1",
        "198.51.100.200",
        "198.51.100.2",
        "203.0.113.1",
        "203.0.113.2",
        "2001:db8::1",
        "2001:db8::2",
        "2001:db8::a",
        "2001:db8::b",
        "::1",
    ];
    let ends = [bed.host.v4().into(), bed.host.v6().into()];
    let other_ends: [IpAddr; 2] = [bed.scanner.v4().into(), bed.scanner.v6().into()];
    let addresses = addresses.iter().map(|address| address.parse::<IpAddr>().expect("address"));
    for address in addresses.chain(ends).chain(other_ends) {
        // Addresses of interfaces that are down count, although the kernel has no route to them.
        let text = address.to_string();
        let mut command = bed.host.command("ip");
        let output = command.args(["-json", "route", "get", &text]).output().expect("ip route get");
        let route: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let local = route[0]["type"] == "local" || text == "203.0.113.1";
        assert_eq!(own.contains(address), local, "{address}: {route}");
    }
}

#[test]
fn own_addresses_include_the_networks_of_local_routes() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let near = bed.scanner.v4().to_string();
    for command in [
        &["route", "add", "local", "198.51.100.0/24", "dev", "lo"][..],
        &["address", "add", "198.51.100.9/28", "broadcast", "198.51.100.15", "dev", device],
        &["route", "add", "local", "203.0.113.0/24", "dev", "lo", "table", "main"],
        &["route", "add", "local", "2001:db8:9::/48", "dev", "lo"],
        &["route", "add", "anycast", "2001:db8:7::7", "dev", device],
        // A transparent proxy, for packets with a mark.
        &["rule", "add", "fwmark", "1", "lookup", "100"],
        &["route", "add", "local", "default", "dev", "lo", "table", "100"],
        &["route", "add", "local", "192.0.2.0/24", "dev", "lo", "table", "100"],
        &["route", "add", "192.0.2.0/24", "via", &near],
        // A table that no rule names, as those of a VRF are.
        &["route", "add", "local", "10.77.0.0/16", "dev", "lo", "table", "7700"],
    ] {
        bed.host.ip(command);
    }
    let own = bed.host.enter(|| Interface::own_addresses(&Interface::all()?)).expect("addresses");
    let check = |address: &str, expected: bool| {
        assert_eq!(own.contains(address.parse().expect("address")), expected, "{address}");
    };
    check("198.51.100.0", true);
    check("198.51.100.15", false);
    check("198.51.100.255", true);
    check("203.0.113.77", true);
    check("2001:db8:9:ffff::1", true);
    check("2001:db8:a::1", false);
    check("2001:db8:7::7", true);
    check("2001:db8:7::8", false);
    check("192.0.2.1", false);
    check("8.8.8.8", false);
    check("10.77.255.254", true);
}

#[test]
fn every_change_is_reported() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let device = bed.host.interface();
    let mut monitor = bed.host.enter(InterfaceMonitor::open).expect("monitor");
    assert!(!monitor.changed().expect("changed"));
    for command in [
        &["link", "add", "br0", "type", "bridge"][..],
        &["link", "set", "br0", "up"],
        &["address", "add", "192.0.2.1/24", "dev", device],
        &["address", "add", "2001:db8::1/64", "dev", device, "nodad"],
        &["address", "delete", "192.0.2.1/24", "dev", device],
        &["address", "delete", "2001:db8::1/64", "dev", device],
        &["route", "add", "local", "198.51.100.0/24", "dev", "lo"],
        &["route", "add", "local", "2001:db8:9::/64", "dev", "lo"],
        &["route", "add", "anycast", "2001:db8:7::7", "dev", device],
        &["route", "delete", "local", "198.51.100.0/24", "dev", "lo"],
        &["route", "delete", "local", "2001:db8:9::/64", "dev", "lo"],
        &["rule", "add", "fwmark", "1", "lookup", "100"],
        &["-6", "rule", "add", "fwmark", "1", "lookup", "100"],
        &["link", "set", "br0", "down"],
        &["link", "set", "br0", "name", "br1"],
        &["link", "delete", "br1"],
    ] {
        bed.host.ip(command);
        let ready = {
            let mut interest = [PollFd::from_borrowed_fd(monitor.as_fd(), PollFlags::IN)];
            poll(&mut interest, Some(&Timespec { tv_sec: 5, tv_nsec: 0 })).expect("poll")
        };
        assert_eq!(ready, 1, "no report of {command:?}");
        assert!(monitor.changed().expect("changed"), "{command:?}");
    }
}

#[test]
fn changes_of_other_routes_are_not_reported() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let near = bed.scanner.v4().to_string();
    let mut monitor = bed.host.enter(InterfaceMonitor::open).expect("monitor");
    let mut batch = tempfile::NamedTempFile::new().expect("batch file");
    // More than the socket could hold.
    for number in 0..5_000 {
        let (high, low) = (number / 250, number % 250);
        writeln!(batch, "route add 198.18.{high}.{low} via {near}").expect("batch file");
        writeln!(batch, "route add 2001:db8:{high}::{low} dev host0").expect("batch file");
    }
    bed.host.ip(&["-batch", &batch.path().to_string_lossy()]);
    let mut interest = [PollFd::from_borrowed_fd(monitor.as_fd(), PollFlags::IN)];
    let no_time = Timespec { tv_sec: 0, tv_nsec: 0 };
    assert_eq!(poll(&mut interest, Some(&no_time)).expect("poll"), 0, "the reader was woken");
    assert!(!monitor.changed().expect("changed"));
    // The notification is queued before the command ends.
    bed.host.ip(&["route", "add", "local", "198.51.100.0/24", "dev", "lo"]);
    assert!(monitor.changed().expect("changed"));
}

#[test]
fn a_flood_of_changes_is_reported() {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    let mut monitor = namespace.enter(InterfaceMonitor::open).expect("monitor");
    let mut batch = tempfile::NamedTempFile::new().expect("batch file");
    for _ in 0..2_000 {
        writeln!(batch, "address add 192.0.2.1/24 dev lo").expect("batch file");
        writeln!(batch, "address delete 192.0.2.1/24 dev lo").expect("batch file");
    }
    // More than the socket can hold: the kernel returns ENOBUFS once.
    namespace.ip(&["-batch", &batch.path().to_string_lossy()]);
    assert!(monitor.changed().expect("changed"));
    assert!(!monitor.changed().expect("changed"));
    namespace.ip(&["address", "add", "192.0.2.1/24", "dev", "lo"]);
    assert!(monitor.changed().expect("changed"));
}
