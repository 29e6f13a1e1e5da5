//! What the two ways of capturing owe to a person who runs the program.

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
        // Nothing is bound, so there is nothing that could answer.
        let sockets = bed.host.run("ss", &["-H", "-n", "-l", "-t", "-u"]);
        assert_eq!(sockets, "", "{method}");
        let ended = sentry.stop();
        assert!(ended.events().len() >= 20_000, "{method}: {}", ended.events().len());
        assert!(ended.stderr.concat().contains(", 0 dropped by the kernel"), "{ended:#?}");
    }
}

#[test]
fn other_ports_are_watched_after_a_reload() {
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
        sentry.wait_for_part("Configuration read again; changed: UDP_PORTS");
        datagram(&bed.scanner, source, target, 20);
        datagram(&bed.scanner, source, target, 21);
        sentry.wait_for(&event(source, UDP, 21, LOGGED));
        assert_eq!(sentry.stop().events().len(), 2, "{method}");
    }
}

#[test]
fn what_the_kernel_drops_is_told_while_running() {
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
            sentry.wait_for_part("packets were lost, because they were not read in time").text;
        let ended = sentry.stop();
        let events = ended.events().len();
        assert!(line.contains(&format!("{} on interface host0", 20_000 - events)), "{line}");
        let summary = ended.stderr.last().expect("summary");
        let told = format!("{} dropped by the kernel", 20_000 - events);
        assert!(summary.contains(&told), "{method}: {summary}, {events} events");
    }
}
