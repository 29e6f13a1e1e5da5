//! Ports that the host forwards to a container, or redirects, have no socket on the host.

use std::net::{TcpListener, UdpSocket};
use std::process::Command;
use std::thread;

use portsentry_testbed::{Namespace, Root, Testbed, require_root, wait_until};

use crate::expected::{BLOCKED, LOGGED, SYN, UDP, event, served};
use crate::probe::{both_families, can_connect, datagram, is_marker, settle, syn};
use crate::station::{Ended, PROGRAM, Sentry, Station};

/// All ports are watched, and the first probe is responded to.
const CONFIGURATION: &str = r#"
TCP_PORTS = "1-65535"
UDP_PORTS = "1-65535"
BLOCK_TCP = "2"
KILL_RUN_CMD = "echo $TARGET$ $PORT$ >> {dir}/did"
"#;

/// Forwards ports to the container, and redirects one to a local service.
const RULES: &str = "table inet forwarding {
    chain prerouting { type nat hook prerouting priority dstnat
        tcp dport 8080 dnat ip to 10.99.0.2:80
        tcp dport 8080 dnat ip6 to [fd99::2]:80
        udp dport 5353 dnat ip to 10.99.0.2:53
        udp dport 5353 dnat ip6 to [fd99::2]:53
        tcp dport 8443 redirect to :9000
    }
}";

/// A container behind the host.
struct Container {
    namespace: Namespace,
}

impl Container {
    fn behind(root: Root, bed: &Testbed) -> Self {
        let namespace = Namespace::isolated(root);
        bed.host.ip(&[
            "link",
            "add",
            "bridge0",
            "type",
            "veth",
            "peer",
            "name",
            "eth0",
            "netns",
            namespace.name(),
        ]);
        for (end, interface, number) in [(&bed.host, "bridge0", 1), (&namespace, "eth0", 2)] {
            end.ip(&["address", "add", &format!("10.99.0.{number}/24"), "dev", interface]);
            end.ip(&["address", "add", &format!("fd99::{number}/64"), "dev", interface, "nodad"]);
            end.ip(&["link", "set", interface, "up"]);
        }
        namespace.ip(&["route", "add", "default", "via", "10.99.0.1"]);
        namespace.ip(&["-6", "route", "add", "default", "via", "fd99::1"]);
        bed.host.run("sysctl", &["-w", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
        Self { namespace }
    }

    /// Serves a TCP and a UDP port until the process ends.
    fn serve(&self) -> UdpSocket {
        let listener = self.namespace.enter(|| TcpListener::bind("[::]:80")).expect("listen");
        thread::spawn(move || listener.incoming().for_each(drop));
        self.namespace.enter(|| UdpSocket::bind("[::]:53")).expect("bind")
    }
}

fn probes(ended: &Ended) -> Vec<&str> {
    ended.events().into_iter().filter(|line| !is_marker(line)).collect()
}

fn count(sentry: &Sentry, line: &str) -> usize {
    sentry.lines().iter().filter(|it| it.text == line).count()
}

#[test]
fn customers_of_forwarded_ports_are_no_scanners() {
    let Some(root) = require_root() else { return };
    for (method, family) in [("pcap", 0), ("raw", 1), ("raw", 0), ("pcap", 1)] {
        let bed = Testbed::new(root);
        let container = Container::behind(root, &bed);
        let datagrams = container.serve();
        let _local = bed.host.enter(|| TcpListener::bind("[::]:9000")).expect("listen");
        bed.host.run("nft", &[RULES]);
        let station = Station::with(&bed.host, CONFIGURATION);
        let (source, target) = both_families(&bed)[family];
        let mut sentry = station.start(&["-m", method]);
        for _ in 0..20 {
            assert!(can_connect(&bed.scanner, target, 8080), "{target}");
            assert!(can_connect(&bed.scanner, target, 8443), "{target}");
            datagram(&bed.scanner, source, target, 5353);
        }
        let mut buffer = [0; 16];
        assert_eq!(datagrams.recv(&mut buffer).expect("a datagram"), 5);
        settle(&bed, target, &mut sentry, None);
        // A scan of other ports is still noticed.
        syn(&bed.scanner, source, target, 8081);
        sentry.wait_for(&event(source, SYN, 8081, BLOCKED));
        let ended = sentry.stop();
        assert_eq!(probes(&ended), [event(source, SYN, 8081, BLOCKED)], "{method} {target}");
        assert_eq!(station.lines("did"), [format!("{source} 8081")]);
    }
}

// The following tests send datagrams: the reply of a TCP service also shows that it is served.

#[test]
fn rules_count_from_the_moment_they_are_added() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let _container = Container::behind(root, &bed);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let probe = event(source, UDP, 5353, LOGGED);
    let send = || datagram(&bed.scanner, source, target, 5353);
    send();
    sentry.wait_for(&probe);

    bed.host.run("nft", &[RULES]);
    let served = served(source, 5353);
    wait_until("the rule counts", || {
        send();
        count(&sentry, &served) > 0
    });
    let before = count(&sentry, &probe);
    (0..20).for_each(|_| send());
    settle(&bed, target, &mut sentry, None);
    assert_eq!(count(&sentry, &probe), before);

    bed.host.run("nft", &["delete table inet forwarding"]);
    wait_until("the port is watched again", || {
        send();
        count(&sentry, &probe) > before
    });
    sentry.stop();
}

#[test]
fn a_port_is_remembered_after_its_rule_was_removed() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let _container = Container::behind(root, &bed);
    bed.host.run("nft", &[RULES]);
    let text = format!("{CONFIGURATION}\nBLOCK_TCP = \"0\"\nSERVED_GRACE = \"2 s\"\n");
    let station = Station::with(&bed.host, &text);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let send = || datagram(&bed.scanner, source, target, 5353);
    send();
    sentry.wait_for(&served(source, 5353));
    bed.host.run("nft", &["delete table inet forwarding"]);
    let removed = std::time::Instant::now();
    let probe = event(source, UDP, 5353, LOGGED);
    wait_until("the port is watched again", || {
        send();
        count(&sentry, &probe) > 0
    });
    let after = removed.elapsed();
    assert!(after.as_secs_f32() > 1.5, "watched again after {after:?}");
    sentry.stop();
}

/// The ports of such a rule are not known, but each of its connections is.
#[test]
fn no_response_to_a_connection_that_the_kernel_forwards() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let _container = Container::behind(root, &bed);
    for ((source, target), (family, to)) in
        both_families(&bed).into_iter().zip([("ip", "10.99.0.2:53"), ("ip6", "[fd99::2]:53")])
    {
        let rule = format!(
            "table inet forwarding {{
                chain prerouting {{ type nat hook prerouting priority dstnat
                    {family} saddr {source} udp sport >= 1 dnat {family} to {to}
                }}
            }}"
        );
        bed.host.run("nft", &[&rule]);
        let text = format!("{CONFIGURATION}\nBLOCK_UDP = \"2\"\n");
        let station = Station::with(&bed.host, &text);
        let mut sentry = station.start(&[]);
        datagram(&bed.scanner, source, target, 8080);
        let part = "a rule passes the packets to port 8080 on to another address or port";
        sentry.wait_for_part(part);
        let ended = sentry.stop();
        assert_eq!(station.lines("did"), [""; 0], "{ended:#?}");
        let warnings = ended.stderr.iter().chain(&ended.stdout);
        let doubt = "portsentry cannot find out to which ports: table forwarding, chain prerouting";
        assert_eq!(warnings.filter(|line| line.contains(doubt)).count(), 1, "{ended:#?}");
        bed.host.run("nft", &["delete table inet forwarding"]);
    }
}

#[test]
fn check_lists_forwarded_ports() {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let station = Station::with(&host, "TCP_PORTS = \"1-1024\"");
    let lines = || -> Vec<String> {
        let mut command = host.command(PROGRAM);
        command.arg("check").arg("-c").arg(station.path("portsentry.conf"));
        let ended = Ended::running(command);
        assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
        let lines = ended.stdout.iter().filter_map(|line| line.strip_prefix("translated"));
        lines.map(|line| line.trim().to_owned()).collect()
    };
    assert_eq!(lines(), ["no ports"]);
    host.run(
        "iptables-nft",
        &[
            "-t",
            "nat",
            "-A",
            "PREROUTING",
            "-p",
            "tcp",
            "--dport",
            "8080:8081",
            "-j",
            "REDIRECT",
            "--to-ports",
            "80",
        ],
    );
    host.run(
        "nft",
        &["table ip t { chain c { type nat hook prerouting priority 0
        ip daddr 192.0.2.1 udp dport 53 dnat to 10.99.0.2
        }
    }"],
    );
    assert_eq!(lines(), ["tcp 8080-8081 at any IPv4 address, udp 53 at 192.0.2.1"]);
    host.run("iptables-legacy", &["-t", "nat", "-S"]);
    assert!(
        lines()[1].starts_with("iptables-legacy has a table nat, which portsentry cannot read")
    );
}

#[test]
fn without_the_capability_a_start_reports_that_forwarded_ports_are_not_known() {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let station = Station::with(&host, "TCP_PORTS = \"1-1024\"");
    let command = |arguments: &[&str]| -> Command {
        let mut command = host.command("setpriv");
        command.args(["--bounding-set=-net_admin", "--inh-caps=-net_admin", PROGRAM]);
        command.args(arguments).arg("-c").arg(station.path("portsentry.conf"));
        command
    };
    let reason = "can be read only with CAP_NET_ADMIN";
    let ended = Ended::running(command(&["check"]));
    let checked = ended.stdout.iter().find(|line| line.starts_with("translated")).expect("a line");
    assert!(checked.contains(reason), "{ended:#?}");
    let ended = Sentry::watching(command(&["-i", "lo"])).stop();
    let lines = ended.stdout.iter().chain(&ended.stderr);
    assert_eq!(lines.filter(|line| line.contains(reason)).count(), 1, "{ended:#?}");
}
