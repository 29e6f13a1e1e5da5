//! Properties that both capture methods must have.

use std::net::IpAddr;

use portsentry_testbed::{Signal, Testbed, require_root};

use crate::expected::{LOGGED, UDP, event};
use crate::forgery::Forger;
use crate::probe::datagram;
use crate::station::Station;

const METHODS: [&str; 2] = ["pcap", "raw"];

#[test]
fn monitored_ports_never_look_open() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"1-20000\"\nUDP_PORTS = \"1-20000\"\n");
    let target = bed.host.v4().to_string();
    for method in METHODS {
        let sentry = station.start(&["-m", method]);
        let scan = ["-n", "-Pn", "-sS", "-p", "1-20000", "-T5", "--disable-arp-ping", &target];
        let report = bed.scanner.run("nmap", &scan);
        assert!(report.contains("All 20000 scanned ports"), "{method}: {report}");
        assert!(!report.contains("open"), "{method}: {report}");
        // No port is bound, so no socket could reply.
        let sockets = bed.host.run("ss", &["-H", "-n", "-l", "-t", "-u"]);
        assert_eq!(sockets, "", "{method}");
        let ended = sentry.stop();
        assert!(ended.events().len() >= 20_000, "{method}: {}", ended.events().len());
        assert!(ended.stderr.concat().contains(", 0 dropped by the kernel"), "{ended:#?}");
    }
}

#[test]
fn a_reload_changes_the_monitored_ports() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::in_namespace(&bed.host);
    let (source, target) = (bed.scanner.v4().into(), bed.host.v4().into());
    for method in METHODS {
        station.configure("UDP_PORTS = \"20\"");
        let mut sentry = station.start(&["-m", method]);
        datagram(&bed.scanner, source, target, 21);
        datagram(&bed.scanner, source, target, 20);
        sentry.wait_for(&event(source, UDP, 20, LOGGED));
        station.configure("UDP_PORTS = \"21\"");
        sentry.signal(Signal::HUP);
        sentry.wait_for_part("Configuration reloaded; changed: UDP_PORTS");
        datagram(&bed.scanner, source, target, 20);
        datagram(&bed.scanner, source, target, 21);
        sentry.wait_for(&event(source, UDP, 21, LOGGED));
        assert_eq!(sentry.stop().events().len(), 2, "{method}");
    }
}

#[test]
fn packets_dropped_by_the_kernel_are_reported_immediately() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"1-20000\"\nCAPTURE_BUFFER = \"1\"");
    let forger = Forger::new(&bed);
    let (source, target) = (bed.scanner.v4().into(), bed.host.v4().into());
    let frames: Vec<_> = (1..=20_000).map(|port| forger.syn(source, target, port)).collect();
    for method in METHODS {
        let mut sentry = station.start(&["-m", method]);
        sentry.signal(Signal::STOP);
        forger.send(&frames, 100_000);
        sentry.signal(Signal::CONT);
        let line =
            sentry.wait_for_part("(capture buffer full); consider raising CAPTURE_BUFFER").text;
        let ended = sentry.stop();
        let events = ended.events().len();
        assert!(line.contains(&format!("{} packets on host0", 20_000 - events)), "{line}");
        let [.., summary, by_interface] = ended.stderr.as_slice() else {
            panic!("{:?}", ended.stderr)
        };
        let expected = format!("{} dropped by the kernel", 20_000 - events);
        assert!(summary.contains(&expected), "{method}: {summary}, {events} events");
        let expected =
            format!("{} packets dropped by the kernel on interface host0", 20_000 - events);
        assert_eq!(*by_interface, expected, "{method}");
    }
}

#[test]
fn dropped_packets_are_reported_for_each_interface_at_the_end() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let cable = ["host1", "netns", bed.host.name(), "type", "veth"];
    let far_end = ["peer", "name", "scan1", "netns", bed.scanner.name()];
    bed.host.ip(&[&["link", "add"][..], &cable, &far_end].concat());
    bed.host.ip(&["address", "add", "192.0.2.1/24", "dev", "host1"]);
    let link = std::path::Path::new("/sys/class/net/host0/address");
    let hardware = bed.host.run("cat", &[link.to_str().expect("path")]);
    // With the same hardware address on both, the frames fit either interface.
    bed.host.ip(&["link", "set", "host1", "address", hardware.trim()]);
    bed.host.ip(&["link", "set", "host1", "up"]);
    bed.scanner.ip(&["link", "set", "scan1", "up"]);
    let station = Station::with(&bed.host, "TCP_PORTS = \"1-20000\"\nCAPTURE_BUFFER = \"1\"");
    let forger = Forger::new(&bed);
    let target = bed.host.v4().into();
    let sources: [IpAddr; 2] =
        ["198.18.0.1", "198.18.0.2"].map(|text| text.parse().expect("address"));
    let frames = sources.map(|source| {
        (1..=20_000).map(|port| forger.syn(source, target, port)).collect::<Vec<_>>()
    });
    for method in METHODS {
        let sentry = station.start(&["-m", method, "-i", "ALL"]);
        sentry.signal(Signal::STOP);
        forger.send(&frames[0], 100_000);
        forger.send_by("scan1", &frames[1], 100_000);
        sentry.signal(Signal::CONT);
        let ended = sentry.stop();
        let lost = sources.map(|source| {
            let from = format!("Scan from: [{source}]");
            20_000 - ended.events().iter().filter(|line| line.starts_with(&from)).count()
        });
        assert!(lost.iter().all(|lost| (1_000..20_000).contains(lost)), "{method}: {lost:?}");
        let [.., summary, first, second] = ended.stderr.as_slice() else {
            panic!("{:?}", ended.stderr)
        };
        let sum = format!(", {} dropped by the kernel", lost[0] + lost[1]);
        assert!(summary.contains(&sum), "{method}: {summary}, {lost:?}");
        // Loopback has lost no packet.
        let expected = ["host0", "host1"].iter().zip(lost).map(|(interface, lost)| {
            format!("{lost} packets dropped by the kernel on interface {interface}")
        });
        assert_eq!([first.clone(), second.clone()], *expected.collect::<Vec<_>>(), "{method}");
    }
}
