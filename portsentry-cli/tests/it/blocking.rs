//! Real blocking, and the hosts that must never be blocked.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;

use portsentry_testbed::{Namespace, Testbed, require_root};
use rustix::process::{Signal, kill_process};

use crate::expected::{BELOW_TRIGGER, BLOCKED, LOGGED, SYN, UDP, event};
use crate::forgery::Forger;
use crate::probe::{MARKER, both_families, can_connect, datagram, is_marker, settle, syn};
use crate::station::{Station, only_child};

const BLOCK: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "65000"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "1"
KILL_ROUTE = "echo $TARGET$ >> {dir}/did"
"#;

/// Asserts that the scanner cannot connect to a service any more after a probe.
#[track_caller]
fn check_blocks(bed: &Testbed, kill_route: &str) {
    let route = format!("{BLOCK}KILL_ROUTE = \"{kill_route}\"");
    let station = Station::with(&bed.host, &route);
    let mut sentry = station.start(&[]);
    for (source, target) in both_families(bed) {
        let service = bed.host.enter(|| TcpListener::bind((target, 8_080)));
        let _service = service.expect("listen");
        assert!(can_connect(&bed.scanner, target, 8_080));
        syn(&bed.scanner, source, target, 22);
        sentry.wait_for(&event(source, SYN, 22, BLOCKED));
        assert!(!can_connect(&bed.scanner, target, 8_080), "{kill_route} for {source}");
    }
    sentry.stop();
}

#[test]
fn a_firewall_set_blocks_a_source() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    for line in [
        "add table inet guard",
        "add set inet guard v4 { type ipv4_addr; }",
        "add set inet guard v6 { type ipv6_addr; }",
        "add chain inet guard input { type filter hook input priority 0; }",
        "add rule inet guard input ip saddr @v4 drop",
        "add rule inet guard input ip6 saddr @v6 drop",
    ] {
        bed.host.run("nft", &[line]);
    }
    let family = "case $TARGET$ in *:*) set=v6;; *) set=v4;; esac";
    check_blocks(&bed, &format!("{family}; nft add element inet guard $set '{{ $TARGET$ }}'"));
}

#[test]
fn a_blackhole_route_blocks_a_source() {
    let Some(root) = require_root() else { return };
    check_blocks(&Testbed::new(root), "ip route add blackhole $TARGET$");
}

/// Replacements of files of `/etc`, seen only inside the namespace.
pub(crate) struct Etc {
    folder: PathBuf,
}

impl Etc {
    /// Creates the folder whose files `ip netns exec` mounts over those of `/etc`.
    pub(crate) fn of(namespace: &Namespace) -> Self {
        let folder = PathBuf::from("/etc/netns").join(namespace.name());
        // Another test may remove the parent right after its own folder.
        let made = (0..10).any(|_| fs::create_dir_all(&folder).is_ok());
        assert!(made, "cannot create {}", folder.display());
        Self { folder }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).expect("write");
    }
}

impl Drop for Etc {
    fn drop(&mut self) {
        // No panic here: the test may already be panicking. The parent can be removed
        // only after the last of its folders.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_dir("/etc/netns");
    }
}

#[test]
fn addresses_that_the_host_needs_are_never_blocked() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let etc = Etc::of(&bed.host);
    let [a, b, c, _] = bed.scanner.v4().octets();
    let neighbour = |last| IpAddr::from([a, b, c, last]);
    // The testbed assigns neither 252 nor a higher number.
    let (gateway, second) = (neighbour(254), neighbour(253));
    let gateway_v6: IpAddr = "fe80::99".parse().expect("address");
    let resolver: IpAddr = "198.51.100.53".parse().expect("address");
    etc.write("resolv.conf", &format!("nameserver {resolver}\n"));
    let device = bed.host.interface();
    bed.host.ip(&["address", "add", &format!("{second}/24"), "dev", device]);
    bed.host.ip(&["route", "add", "default", "via", &gateway.to_string(), "dev", device]);
    bed.host.ip(&["route", "add", "default", "via", &gateway_v6.to_string(), "dev", device]);

    let station = Station::with(&bed.host, BLOCK);
    let mut sentry = station.start(&[]);
    let [(scanner, target), (_, target_v6)] = both_families(&bed);
    let forger = Forger::new(&bed);
    let protected =
        [(gateway, target), (resolver, target), (second, target), (gateway_v6, target_v6)];
    let frames = protected.map(|(source, target)| forger.syn(source, target, 22));
    forger.send(&frames, 1_000);
    for (source, _) in protected {
        sentry.wait_for(&event(source, SYN, 22, LOGGED));
    }
    // Any other host is blocked.
    syn(&bed.scanner, scanner, target, 23);
    sentry.wait_for(&event(scanner, SYN, 23, BLOCKED));

    let ended = sentry.stop();
    let printed = ended.stdout.iter().find_map(|line| line.strip_prefix("Never blocking: "));
    let printed: Vec<&str> = printed.expect("a line with the networks").split(", ").collect();
    for (source, _) in protected {
        let network = format!("{source}/{}", if source.is_ipv4() { 32 } else { 128 });
        assert!(printed.contains(&network.as_str()), "{network}: {printed:?}");
    }
    assert_eq!(station.lines("did"), [scanner.to_string()]);
}

#[test]
fn never_block_replaces_the_default_networks() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let [(source, target), (source_v6, target_v6)] = both_families(&bed);
    let network = format!("NEVER_BLOCK = \"{source}/24\"");
    let station = Station::with(&bed.host, &format!("{BLOCK}{network}"));
    let mut sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 22);
    sentry.wait_for(&event(source, SYN, 22, LOGGED));
    syn(&bed.scanner, source_v6, target_v6, 22);
    sentry.wait_for(&event(source_v6, SYN, 22, BLOCKED));
    sentry.stop();
    assert_eq!(station.lines("did"), [source_v6.to_string()]);
}

#[test]
fn the_rate_limits_the_number_of_blocked_hosts() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}BLOCK_RATE = \"3\""));
    let forger = Forger::new(&bed);
    let target = bed.host.v4().into();
    let hosts: [IpAddr; 5] = std::array::from_fn(|n| [198, 18, 0, n as u8 + 1].into());
    let mut sentry = station.start(&[]);
    for (host, end) in hosts.into_iter().zip([BLOCKED, BLOCKED, BLOCKED, LOGGED, LOGGED]) {
        forger.send(&[forger.syn(host, target, 22)], 1_000);
        sentry.wait_for(&event(host, SYN, 22, end));
    }
    // A blocked host stays blocked.
    forger.send(&[forger.syn(hosts[0], target, 23)], 1_000);
    sentry.wait_for(&event(hosts[0], SYN, 23, BLOCKED));
    let ended = sentry.stop();
    let printed = "Did not respond to 2 probes: more than 3 responses per minute (BLOCK_RATE)";
    assert_eq!(ended.between().last().map(String::as_str), Some(printed));
    assert_eq!(station.lines("did").len(), 3);
}

#[test]
fn a_refusal_by_the_old_rate_does_not_outlive_a_reload() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}BLOCK_RATE = \"1\""));
    let forger = Forger::new(&bed);
    let target = bed.host.v4().into();
    let [first, second, third]: [IpAddr; 3] = [1, 2, 3].map(|n| [198, 18, 0, n].into());
    let mut sentry = station.start(&[]);
    let responder = only_child(sentry.pid());
    kill_process(responder, Signal::STOP).expect("kill");
    forger.send(&[forger.syn(first, target, 22), forger.syn(second, target, 22)], 1_000);
    datagram(&bed.scanner, bed.scanner.v4().into(), target, 65_000);
    // Both responses are requested now.
    sentry.wait_for(&event(bed.scanner.v4().into(), UDP, 65_000, LOGGED));
    station.configure(&format!("{BLOCK}BLOCK_RATE = \"0\""));
    sentry.signal(Signal::HUP);
    kill_process(responder, Signal::CONT).expect("kill");
    sentry.wait_for("Configuration reloaded; changed: BLOCK_RATE");
    sentry.wait_for(&event(second, SYN, 22, LOGGED));
    forger.send(&[forger.syn(third, target, 22)], 1_000);
    sentry.wait_for(&event(third, SYN, 22, BLOCKED));
    sentry.stop();
    assert_eq!(station.lines("did"), [first, third].map(|host| host.to_string()));
}

#[test]
fn packets_from_martian_sources_are_not_probes() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}NEVER_BLOCK = \"\""));
    let forger = Forger::new(&bed);
    let [(_, target), (_, target_v6)] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let impossible = [
        "127.0.0.1",
        "127.9.9.9",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "ff02::1",
    ];
    let frames = impossible.map(|source| {
        let source: IpAddr = source.parse().expect("address");
        forger.syn(source, if source.is_ipv4() { target } else { target_v6 }, 22)
    });
    forger.send(&frames, 1_000);
    settle(&bed, target, &mut sentry, None);
    let ended = sentry.stop();
    assert!(ended.events().iter().all(|line| is_marker(line)), "{ended:#?} {MARKER}");
    assert_eq!(station.lines("did"), [""; 0]);
    assert!(ended.stderr[0].ends_with(", 8 undecodable (8 martian source)"), "{ended:#?}");
}

#[test]
fn reserved_sources_are_logged_and_never_blocked() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let configuration = format!("{BLOCK}NEVER_BLOCK = \"\"\nSCAN_TRIGGER = \"2\"");
    let station = Station::with(&bed.host, &configuration);
    let forger = Forger::new(&bed);
    let [(_, target), (_, target_v6)] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let address = |text: &str| text.parse::<IpAddr>().expect("address");
    for source in ["240.0.0.1", "255.255.255.254", "0.1.2.3", "::ffff:198.18.0.1"].map(address) {
        let target = if source.is_ipv4() { target } else { target_v6 };
        forger.send(&[20, 21, 22].map(|port| forger.syn(source, target, port)), 1_000);
        sentry.wait_for(&event(source, SYN, 20, BELOW_TRIGGER));
        sentry.wait_for(&event(source, SYN, 21, LOGGED));
        sentry.wait_for(&event(source, SYN, 22, LOGGED));
    }
    // The host with the IPv4 address has its own counter.
    let host = address("198.18.0.1");
    forger.send(&[forger.syn(host, target, 20)], 1_000);
    sentry.wait_for(&event(host, SYN, 20, BELOW_TRIGGER));
    assert_eq!(station.lines("did"), [""; 0]);
    forger.send(&[forger.syn(host, target, 21)], 1_000);
    sentry.wait_for(&event(host, SYN, 21, BLOCKED));
    sentry.stop();
    assert_eq!(station.lines("did"), [host.to_string()]);
}
