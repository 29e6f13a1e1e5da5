//! State over time and over sources: a slow scan that hides in a crowd of forged sources.

use std::net::{IpAddr, Ipv4Addr};

use portsentry_testbed::{Testbed, require_root};

use crate::expected::{BELOW_TRIGGER, LOGGED, SYN, UDP, event};
use crate::forgery::Forger;
use crate::probe::{MARKER, is_marker, port_of, settle};
use crate::station::Station;

const CONFIGURATION: &str = "TCP_PORTS = \"20-22\"\nUDP_PORTS = \"65000\"\nSCAN_TRIGGER = \"3\"\n";

/// Number of forged sources between two probes of the scan.
const CROWD: u32 = 3_000;

#[test]
fn a_slow_scan_is_detected_among_forged_sources() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let forger = Forger::new(&bed);
    let (scanner, target) = (IpAddr::from(bed.scanner.v4()), IpAddr::from(bed.host.v4()));
    let mut sentries = ["pcap", "raw"].map(|method| station.start(&["-m", method]));

    // The delay exceeds the three seconds after which scanlogd forgets a source.
    let slow = ["-n", "-Pn", "-sS", "-r", "--scan-delay", "3200ms", "--max-retries", "0"];
    let address = target.to_string();
    let _nmap = bed.scanner.spawn("nmap", &[&slow[..], &["-p", "20-22", &address]].concat());
    let mut forged = Vec::new();
    for port in 20..=22 {
        let end = if port < 22 { BELOW_TRIGGER } else { LOGGED };
        for sentry in &mut sentries {
            sentry.wait_for(&event(scanner, SYN, port, end));
        }
        let first = u32::from(Ipv4Addr::new(198, 18, 0, 1)) + CROWD * u32::from(port - 20);
        let crowd = (first..first + CROWD).map(|bits| IpAddr::from(Ipv4Addr::from(bits)));
        let frames: Vec<_> = crowd.clone().map(|source| forger.syn(source, target, port)).collect();
        forger.send(&frames, 20_000);
        forged.extend(crowd.map(|source| event(source, SYN, port, BELOW_TRIGGER)));
    }
    let [pcap, raw] = &mut sentries;
    settle(&bed, target, pcap, None);
    raw.wait_for_part(&port_of(UDP, MARKER));
    for sentry in sentries {
        let ended = sentry.stop();
        let own = format!("Scan from: [{scanner}]");
        let (own, mut others): (Vec<&str>, Vec<&str>) = ended
            .events()
            .into_iter()
            .filter(|line| !is_marker(line))
            .partition(|line| line.starts_with(&own));
        assert_eq!(own.len(), 3, "{own:#?}");
        others.sort_unstable();
        forged.sort_unstable();
        assert!(others == forged, "{} of {}", others.len(), forged.len());
    }
}
