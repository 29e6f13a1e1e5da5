//! Every scan of nmap's, to the byte and to the packet.

use std::net::IpAddr;

use portsentry_testbed::{Testbed, require_root};

use crate::expected::{FIN, Kind, LOGGED, NULL, SYN, UDP, XMAS, event};
use crate::probe::{MARKER, both_families, datagram, is_marker, settle};
use crate::station::Station;
use crate::witness::Witness;

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-23,25,1433"
UDP_PORTS = "69,161,65000"
HISTORY_FILE = "{dir}/history"
"#;

/// Scans the monitored ports, and some that are not; gives the lines of the
/// sentry about it and what the wire had of monitored ports.
#[track_caller]
fn scanned(
    bed: &Testbed,
    station: &Station<'_>,
    target: IpAddr,
    method: &str,
    scan: &str,
) -> (Vec<String>, Vec<u16>) {
    let monitored = "(tcp and (dst portrange 20-23 or dst port 25 or dst port 1433)) \
                     or (udp and (dst port 69 or dst port 161))";
    let mut witness = Witness::start(&bed.scanner, monitored);
    let before = station.history();
    let mut sentry = station.start(&["-m", method]);

    let ports = if scan == "-sU" { "68-70,161" } else { "19-26,1432-1434" };
    let target_text = target.to_string();
    let family: &[&str] = if target.is_ipv6() { &["-6"] } else { &[] };
    let options = ["-n", "-Pn", "--disable-arp-ping", "--max-retries", "1", scan, "-p", ports];
    bed.scanner.run("nmap", &[&options[..], family, &[target_text.as_str()]].concat());
    settle(bed, target, &mut sentry, Some(&mut witness));

    let ended = sentry.stop();
    let is_wanted = |line: &&String| !is_marker(line);
    let said: Vec<String> = ended.between().iter().filter(is_wanted).cloned().collect();
    // What was there before is still there.
    let history = station.history();
    assert_eq!(history[..before.len()], before);
    let added: Vec<String> = history[before.len()..].iter().filter(is_wanted).cloned().collect();
    assert_eq!(added, said, "the history has the log's lines");
    (said, witness.ports())
}

#[test]
fn each_probe_of_a_scan_gives_its_line() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let check = |(source, target): (IpAddr, IpAddr), method: &str, scan: &str, kind: Kind| {
        let (said, sent) = scanned(&bed, &station, target, method, scan);
        assert!(sent.len() >= if scan == "-sU" { 2 } else { 6 }, "{scan}: nmap sent {sent:?}");
        let expected: Vec<String> =
            sent.iter().map(|port| event(source, kind, *port, LOGGED)).collect();
        assert_eq!(said, expected, "nmap {scan} {target} through {method}");
    };
    for ends in both_families(&bed) {
        for method in ["pcap", "raw"] {
            check(ends, method, "-sS", SYN);
            check(ends, method, "-sT", SYN);
            check(ends, method, "-sN", NULL);
            check(ends, method, "-sF", FIN);
            check(ends, method, "-sX", XMAS);
            check(ends, method, "-sU", UDP);
        }
    }
}

#[test]
fn what_answers_or_ends_a_connection_is_no_probe() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for (_, target) in both_families(&bed) {
        for scan in ["-sA", "-sM", "-sW"] {
            let (said, sent) = scanned(&bed, &station, target, "pcap", scan);
            assert!(sent.len() >= 6, "nmap sent {sent:?}");
            assert_eq!(said, [""; 0], "nmap {scan} {target}");
        }
    }
    let mut sentry = station.start(&[]);
    let target = bed.host.v4();
    let flags = ["--count", "2", "--fast", "--quiet", "-p", "23", "-R"];
    // hping3 counts a lost answer as a failure, and nothing answers a RST.
    let hping = &[&["-c", "hping3 \"$@\" || true", "sh"], &flags[..], &[&target.to_string()]];
    bed.scanner.run("sh", &hping.concat());
    settle(&bed, target.into(), &mut sentry, None);
    let ended = sentry.stop();
    assert_eq!(ended.events().len(), 1, "the marker alone: {ended:#?}");
}

#[test]
fn the_history_has_the_time_of_the_probe() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let mut command = station.command(&[]);
    // A zone of half hours, east of Greenwich.
    command.env("TZ", "TEST-05:30");
    let mut sentry = crate::station::Sentry::watching(command);
    let now = || {
        let output = std::process::Command::new("date")
            .env("TZ", "TEST-05:30")
            .arg("+%Y-%m-%dT%H:%M:%S.%3N%z")
            .output()
            .expect("date");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    };
    let before = now();
    datagram(&bed.scanner, bed.scanner.v4().into(), bed.host.v4().into(), MARKER);
    sentry.wait_for(&event(bed.scanner.v4().into(), UDP, MARKER, LOGGED));
    let after = now();
    sentry.stop();

    let [line] = &station.lines("history")[..] else { panic!("one line") };
    let (stamp, rest) = line.split_once(' ').expect("stamp and line");
    assert_eq!(rest, event(bed.scanner.v4().into(), UDP, MARKER, LOGGED));
    assert_eq!(stamp.len(), 28, "{stamp}");
    assert!(stamp.ends_with("+0530"), "{stamp}");
    assert!(*before <= *stamp && *stamp <= *after, "{before} {stamp} {after}");
}
