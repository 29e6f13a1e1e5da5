//! A sentry that is killed at any moment restarts and knows the blocked hosts.

use std::collections::HashSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use portsentry_testbed::{Background, SOON, Testbed, require_root};

use crate::expected::BLOCKED;
use crate::forgery::{Forger, capture};
use crate::station::Station;

/// Number of crashes: `PORTSENTRY_CRASHES`, or 200.
fn crashes() -> u32 {
    let wanted = std::env::var("PORTSENTRY_CRASHES").ok();
    wanted.map_or(200, |text| text.parse().expect("PORTSENTRY_CRASHES is a number"))
}

/// Returns the hosts in a blocked file of IPv4 addresses, and the bytes left at its end.
fn blocked(bytes: &[u8]) -> (HashSet<IpAddr>, &[u8]) {
    let (records, rest) = bytes.as_chunks::<6>();
    let host = |record: &[u8; 6]| {
        let [f0, f1, a, b, c, d] = *record;
        assert_eq!(u16::from_ne_bytes([f0, f1]), 2, "not a record of IPv4: {record:?}");
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    (records.iter().map(host).collect(), rest)
}

#[test]
fn a_host_logged_as_blocked_stays_blocked_after_a_crash() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(
        &bed.host,
        r#"
TCP_PORTS = "20-30"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "2"
BLOCK_RATE = "0"
KILL_RUN_CMD = "true"
"#,
    );
    // New hosts all the time, for longer than the test takes.
    let forger = Forger::new(&bed);
    let target = bed.host.v4().into();
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 1));
    let frames: Vec<_> = (first..first + 100_000)
        .map(|host| forger.syn(IpAddr::V4(host.into()), target, 22))
        .collect();
    fs::write(station.path("storm.pcap"), capture(&frames)).expect("write");
    let storm = station.path("storm.pcap");
    let _storm = bed.scanner.spawn(
        "tcpreplay",
        &["-q", "--pps=600", "-i", bed.scanner.interface(), storm.to_str().expect("path")],
    );

    let mut promised = HashSet::new();
    for crash in 0..crashes() {
        let sentry = station.start(&[]);
        // Spreads the crashes irregularly over 60 ms.
        std::thread::sleep(Duration::from_micros(u64::from(crash * 7_919 % 60_000)));
        let ended = sentry.kill();
        let hosts = ended.events().into_iter().filter(|line| line.ends_with(BLOCKED));
        promised.extend(hosts.map(|line| {
            let (host, _) = line["Scan from: [".len()..].split_once(']').expect("a host");
            host.parse::<IpAddr>().expect("an address")
        }));
        let bytes = fs::read(station.path("blocked")).expect("read");
        let (recorded, torn) = blocked(&bytes);
        let missing: Vec<_> = promised.difference(&recorded).collect();
        assert!(missing.is_empty(), "after crash {crash}: {missing:?}");
        assert!(torn.len() < 6);
    }
    // The sentry was under load, and starts once more.
    assert!(promised.len() > crashes() as usize, "only {} hosts", promised.len());
    let mut last = Background::spawn(station.command(&["-v"]));
    let line = last.wait_for_line(SOON, |line| line.ends_with(" hosts"));
    let loaded: usize =
        line.text.rsplit(' ').nth(1).and_then(|it| it.parse().ok()).expect("number");
    assert!(loaded >= promised.len(), "{}: {}", line.text, promised.len());
}
