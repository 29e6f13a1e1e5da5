//! The hosts that a host depends on, while its network changes. Each test creates network
//! namespaces.

use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;

use portsentry_capture::{IndispensableHosts, ResolverFiles, Role};
use portsentry_testbed::{Namespace, Testbed, holds_soon, require_root};

fn address(text: &str) -> IpAddr {
    text.parse().expect("address")
}

/// Follows the hosts of `namespace`, without name servers.
fn follow(namespace: &Namespace) -> IndispensableHosts {
    let files = ResolverFiles::new("/nonexistent", [""; 0]);
    namespace.enter(|| IndispensableHosts::with_files(files)).expect("hosts")
}

/// Applies all changes until now. The dumps are those of the calling thread's namespace.
fn refresh(namespace: &Namespace, hosts: &mut IndispensableHosts) -> bool {
    namespace.enter(|| hosts.refresh()).expect("hosts")
}

/// Returns the roles other than own addresses, with their addresses.
fn peers(hosts: &IndispensableHosts) -> BTreeSet<String> {
    let list = hosts.list();
    let peers = list.iter().filter(|it| it.role != Role::OwnAddress);
    peers.map(|it| format!("{} {}", it.network.addr(), it.role)).collect()
}

/// Commands for `ip`, and the gateways that follow from them.
fn routes(device: &str) -> Vec<(String, Vec<&'static str>)> {
    let plain = [
        ("address add 192.0.2.1/24 dev DEV", &[][..]),
        ("route add default via 192.0.2.2", &["192.0.2.2 default gateway"]),
        ("route add blackhole default metric 900", &[]),
        ("route add default dev DEV metric 80", &[]),
        ("route add 198.51.100.0/24 via 192.0.2.3", &["192.0.2.3 gateway of 198.51.100.0/24"]),
        // Policy routing.
        ("route add default via 192.0.2.4 table 77", &["192.0.2.4 default gateway in table 77"]),
        (
            "route add default via 192.0.2.5 table 70000",
            &["192.0.2.5 default gateway in table 70000"],
        ),
        // The two halves of a VPN.
        ("route add 0.0.0.0/1 via 192.0.2.6", &["192.0.2.6 gateway of 0.0.0.0/1"]),
        ("route add 128.0.0.0/1 via 192.0.2.7", &["192.0.2.7 gateway of 128.0.0.0/1"]),
        // Several hops.
        (
            "route add default metric 60 nexthop via 192.0.2.8 dev DEV nexthop via 192.0.2.9 dev DEV",
            &["192.0.2.8 default gateway", "192.0.2.9 default gateway"],
        ),
        ("route add default metric 70 via inet6 fe80::44 dev DEV", &["fe80::44 default gateway"]),
        // Nexthop objects.
        ("nexthop add id 7 via 192.0.2.10 dev DEV", &["192.0.2.10 gateway of a nexthop object"]),
        ("nexthop add id 8 via fe80::8 dev DEV", &["fe80::8 gateway of a nexthop object"]),
        ("route add 203.0.113.0/24 nhid 7", &["192.0.2.10 gateway of 203.0.113.0/24"]),
        // IPv6.
        ("-6 route add default via fe80::55 dev DEV", &["fe80::55 default gateway"]),
        (
            "-6 route add default metric 5 nexthop via fe80::56 dev DEV nexthop via fe80::57 dev DEV",
            &["fe80::56 default gateway", "fe80::57 default gateway"],
        ),
        (
            "-6 route add default via fe80::58 dev DEV table 77",
            &["fe80::58 default gateway in table 77"],
        ),
        // A VRF has its own table. Not all kernels have the device, so the table is used alone.
        ("link add br7 type bridge", &[]),
        ("link set br7 up", &[]),
        ("address add 198.18.0.1/24 dev br7", &[]),
        (
            "route add default via 198.18.0.2 dev br7 table 700",
            &["198.18.0.2 default gateway in table 700"],
        ),
    ];
    let with_device = |command: &str| command.replace("DEV", device);
    plain.into_iter().map(|(command, hosts)| (with_device(command), hosts.to_vec())).collect()
}

fn ip(namespace: &Namespace, command: &str) {
    let words: Vec<&str> = command.split(' ').collect();
    namespace.ip(&words);
}

#[test]
fn gateways_of_all_tables_are_found_immediately_and_in_a_snapshot() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut hosts = follow(&bed.host);
    assert_eq!(peers(&hosts), BTreeSet::new());
    let mut expected = BTreeSet::new();
    for (command, found) in routes(bed.host.interface()) {
        ip(&bed.host, &command);
        expected.extend(found.iter().map(|it| (*it).to_owned()));
        let changed = refresh(&bed.host, &mut hosts);
        assert_eq!(peers(&hosts), expected, "after {command}");
        assert!(changed || found.is_empty(), "{command}");
        assert_eq!(peers(&follow(&bed.host)), expected, "snapshot after {command}");
    }
    for own in ["192.0.2.1", "198.18.0.1", "127.9.9.9", &bed.host.v6().to_string()] {
        assert_eq!(hosts.roles_of(address(own)).next(), Some(Role::OwnAddress), "{own}");
    }
    assert_eq!(hosts.roles_of(address("192.0.2.99")).next(), None);
    assert_eq!(hosts.roles_of(address("::ffff:192.0.2.1")).next(), Some(Role::OwnAddress));
    let networks = hosts.networks(true);
    assert!(networks.contains(&"127.0.0.0/8".parse().expect("network")), "{networks:?}");
    assert!(!networks.contains(&"127.0.0.1/32".parse().expect("network")), "{networks:?}");
}

/// The kernel can leave the gateway out of such routes.
#[test]
fn nexthop_objects_count_without_the_compatible_notation() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    bed.host.run("sysctl", &["-q", "-w", "net.ipv4.nexthop_compat_mode=0"]);
    let mut hosts = follow(&bed.host);
    let device = bed.host.interface();
    let near = bed.scanner.v4();
    ip(&bed.host, &format!("nexthop add id 7 via {near} dev {device}"));
    ip(&bed.host, "route add default nhid 7");
    refresh(&bed.host, &mut hosts);
    assert!(hosts.roles_of(near.into()).next().is_some());
    let [a, b, c, _] = near.octets();
    ip(&bed.host, &format!("nexthop replace id 7 via {a}.{b}.{c}.77 dev {device}"));
    refresh(&bed.host, &mut hosts);
    assert!(hosts.roles_of([a, b, c, 77].into()).next().is_some());
}

#[test]
fn own_addresses_are_followed() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut hosts = follow(&bed.host);
    let device = bed.host.interface();
    // A route of a table that is not searched for packets without a mark.
    ip(&bed.host, "rule add fwmark 1 lookup 99");
    ip(&bed.host, "route add local 198.51.100.0/24 dev lo table 99");
    refresh(&bed.host, &mut hosts);
    assert_eq!(hosts.roles_of(address("198.51.100.9")).next(), None);
    for (command, own) in [
        (format!("address add 203.0.113.9/32 dev {device}"), "203.0.113.9"),
        (format!("address add 203.0.113.10 peer 203.0.113.11 dev {device}"), "203.0.113.10"),
        (format!("address add 2001:db8::9/64 dev {device} nodad"), "2001:db8::9"),
        ("route add local 198.18.0.0/15 dev lo".to_owned(), "198.18.7.7"),
        ("rule add lookup 99".to_owned(), "198.51.100.9"),
        ("link add br1 type bridge".to_owned(), "::1"),
        ("address add 203.0.113.12/24 dev br1".to_owned(), "203.0.113.12"),
    ] {
        ip(&bed.host, &command);
        let is_own = |hosts: &mut IndispensableHosts| {
            refresh(&bed.host, hosts);
            hosts.roles_of(address(own)).next() == Some(Role::OwnAddress)
        };
        // The kernel adds an address of IPv6 a moment later.
        assert!(
            is_own(&mut hosts) || own.contains(':') && holds_soon(|| is_own(&mut hosts)),
            "{command}"
        );
    }
    assert_eq!(hosts.roles_of(address("203.0.113.11")).next(), None);
    ip(&bed.host, &format!("address delete 203.0.113.9/32 dev {device}"));
    // An address that this host has given up is free immediately, or after the next read.
    let is_free = || {
        refresh(&bed.host, &mut hosts);
        hosts.roles_of(address("203.0.113.9")).next().is_none()
    };
    assert!(holds_soon(is_free));
}

#[test]
fn a_gateway_that_disappears_lingers() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut hosts = follow(&bed.host);
    let near = bed.scanner.v4();
    ip(&bed.host, &format!("route add default via {near}"));
    refresh(&bed.host, &mut hosts);
    ip(&bed.host, "route delete default");
    assert!(holds_soon(|| {
        refresh(&bed.host, &mut hosts);
        hosts.due().is_none()
    }));
    assert!(hosts.roles_of(near.into()).next().is_some());
    assert!(peers(&follow(&bed.host)).is_empty());
}

/// More changes than the socket buffer holds: the kernel drops notifications.
#[test]
fn no_change_is_missed_when_notifications_are_lost() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut hosts = follow(&bed.host);
    let near = bed.scanner.v4();
    let batch = tempfile::NamedTempFile::new().expect("file");
    let mut text: String = (0..5_000_u32)
        .map(|n| format!("route add 44.{}.{}.0/24 via {near}\n", n >> 8, n & 255))
        .collect();
    let [a, b, c, _] = near.octets();
    text += &format!("route add default via {a}.{b}.{c}.77\n");
    fs::write(batch.path(), text).expect("write");
    bed.host.ip(&["-batch", batch.path().to_str().expect("path")]);
    refresh(&bed.host, &mut hosts);
    assert!(hosts.roles_of([a, b, c, 77].into()).next().is_some());
    // All routes lead to these two.
    assert_eq!(peers(&hosts).len(), 2);
}

#[test]
fn name_servers_are_read_each_time() {
    let folder = tempfile::tempdir().expect("folder");
    let [main, upstream] = ["main", "upstream"].map(|name| folder.path().join(name));
    let files = ResolverFiles::new(&main, [&upstream]);
    let mut hosts = IndispensableHosts::with_files(files).expect("hosts");
    let mut check = |file: &std::path::Path, text: &str, expected: &[(&str, bool)]| {
        fs::write(file, text).expect("write");
        assert!(hosts.refresh().expect("hosts"), "{text}");
        for (host, is_server) in expected {
            let role = hosts.roles_of(address(host)).next();
            assert_eq!(matches!(role, Some(Role::NameServer { .. })), *is_server, "{host} {text}");
        }
        assert!(!hosts.refresh().expect("hosts"), "{text}");
    };
    check(&main, "nameserver 192.0.2.53\n", &[("192.0.2.53", true), ("192.0.2.54", false)]);
    check(&main, "nameserver 127.0.0.53\n", &[]);
    check(&upstream, "nameserver 192.0.2.54\n", &[("192.0.2.54", true)]);
    // A file that is rewritten is empty for a moment.
    check(&main, "", &[("192.0.2.53", true), ("192.0.2.54", true)]);
    let file = folder.path().join("main").display().to_string();
    let role = hosts.roles_of(address("192.0.2.53")).next().expect("a role").to_string();
    assert_eq!(role, format!("name server in {file}"));
}
