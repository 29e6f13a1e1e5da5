//! The end of the program: clean, and without a lost line.

use portsentry_testbed::{Signal, Testbed, require_root};

use crate::expected::{LOGGED, UDP, event};
use crate::forgery::Forger;
use crate::probe::{both_families, datagram, syn};
use crate::station::Station;

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "1000-2000"
HISTORY_FILE = "{dir}/history"
"#;

#[test]
fn packets_right_before_the_end_are_logged() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source, target), _] = both_families(&bed);
    let mut expected = Vec::new();
    for signal in [Signal::TERM, Signal::INT] {
        let sentry = station.start(&[]);
        for port in 1_000..1_050 {
            datagram(&bed.scanner, source, target, port);
        }
        let ended = sentry.stop_by(signal);
        let events: Vec<_> = (1_000..1_050).map(|port| event(source, UDP, port, LOGGED)).collect();
        assert_eq!(ended.between(), events);
        expected.extend(events);
        assert_eq!(station.history(), expected, "a second run appends");
    }
}

#[test]
fn the_summary_counts_correctly() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    // Otherwise the kernel's own multicast packets would be counted.
    let quiet = format!("/proc/sys/net/ipv6/conf/{}/disable_ipv6", bed.scanner.interface());
    bed.scanner.enter(|| std::fs::write(quiet, "1")).expect("write");
    let [(source, target), _] = both_families(&bed);
    let forger = Forger::new(&bed);
    let sentry = station.start(&[]);

    for port in [20, 21, 31] {
        syn(&bed.scanner, source, target, port);
    }
    for port in [999, 1_000] {
        datagram(&bed.scanner, source, target, port);
    }
    let forged = ["127.0.0.1", "224.0.0.1"].map(|it| it.parse().expect("address"));
    forger.send(&forged.map(|source| forger.syn(source, target, 22)), 1_000);

    let ended = sentry.stop();
    assert_eq!(ended.events().len(), 3);
    // The kernel's filter drops packets to ports that are not monitored.
    assert_eq!(
        ended.stderr,
        ["5 packets seen, 3 probes, 0 dropped by the kernel, 2 undecodable (2 martian source)"]
    );
}
