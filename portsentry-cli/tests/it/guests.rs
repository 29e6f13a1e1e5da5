//! Guests of this host are not scanners: clients of a service that restarts, and of services
//! that listen for a moment only.

use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use portsentry_testbed::{Namespace, Testbed, require_root, wait_until};

use crate::expected::{FIN, LOGGED, NULL, SYN, UDP, XMAS, event};
use crate::probe::{both_families, datagram, is_marker, settle, syn};
use crate::station::{Ended, Station};

/// All ports are watched, including those that the kernel chooses.
const CONFIGURATION: &str = r#"
TCP_PORTS = "1-65535"
UDP_PORTS = "1-65535"
SERVED_GRACE = "10 min"
"#;

const METHODS: [&str; 2] = ["pcap", "raw"];

/// Port of a service.
const SERVICE: u16 = 2_080;

/// Returns the lines about probes, without the marker.
fn probes(ended: &Ended) -> Vec<&str> {
    ended.events().into_iter().filter(|line| !is_marker(line)).collect()
}

/// Asserts that no probe was logged.
#[track_caller]
fn check_none(ended: &Ended, what: &str) {
    let found = probes(ended);
    assert!(found.is_empty(), "{what}: {} lines about probes: {found:#?}", found.len());
}

/// A client that connects every 20 ms until the end of `work`. Counts connections and
/// refusals.
fn with_client(scanner: &Namespace, to: (IpAddr, u16), work: impl FnOnce(&AtomicU32, &AtomicU32)) {
    let (accepted, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let ends = AtomicBool::new(false);
    let client = || {
        while !ends.load(Ordering::Relaxed) {
            match TcpStream::connect_timeout(&to.into(), Duration::from_secs(3)) {
                Ok(_) => accepted.fetch_add(1, Ordering::Relaxed),
                Err(_) => refused.fetch_add(1, Ordering::Relaxed),
            };
            thread::sleep(Duration::from_millis(20));
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| scanner.enter(client));
        work(&accepted, &refused);
        ends.store(true, Ordering::Relaxed);
    });
}

/// Waits for `number` further counts.
fn further(count: &AtomicU32, number: u32) {
    let until = count.load(Ordering::Relaxed) + number;
    wait_until("further connections", || count.load(Ordering::Relaxed) >= until);
}

#[test]
fn clients_of_a_service_that_restarts_are_no_scanners() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for (method, (_, target)) in METHODS.into_iter().zip(both_families(&bed)) {
        let listen = || bed.host.enter(|| TcpListener::bind((target, SERVICE))).expect("listen");
        let mut service = Some(listen());
        let mut sentry = station.start(&["-m", method]);
        with_client(&bed.scanner, (target, SERVICE), |accepted, refused| {
            for stopped in [1, 1, 1, 1, 1, 50] {
                further(accepted, 5);
                drop(service.take());
                further(refused, stopped);
                service = Some(listen());
            }
            further(accepted, 5);
            drop(service.take());
            further(refused, 5);
        });
        settle(&bed, target, &mut sentry, None);
        check_none(&sentry.stop(), method);
    }
}

#[test]
fn a_port_is_watched_again_after_the_grace_time() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let grace = "SERVED_GRACE = \"5 s\"";
    let station = Station::with(&bed.host, &format!("{CONFIGURATION}{grace}"));
    for (method, (source, target)) in METHODS.into_iter().zip(both_families(&bed)) {
        let (tcp, udp) = bed
            .host
            .enter(|| (TcpListener::bind((target, SERVICE)), UdpSocket::bind((target, SERVICE))));
        let services = (tcp.expect("listen"), udp.expect("bind"));
        let mut sentry = station.start(&["-m", method]);
        for port in [SERVICE, SERVICE + 1] {
            datagram(&bed.scanner, source, target, port);
        }
        sentry.wait_for(&event(source, UDP, SERVICE + 1, LOGGED));
        drop(services);
        // Longer than the age of a snapshot.
        thread::sleep(Duration::from_millis(500));
        // Within the grace time. Another port is not affected.
        for port in [SERVICE, SERVICE + 1] {
            syn(&bed.scanner, source, target, port);
            datagram(&bed.scanner, source, target, port);
        }
        sentry.wait_for(&event(source, UDP, SERVICE + 1, LOGGED));
        let early = [
            event(source, UDP, SERVICE + 1, LOGGED),
            event(source, SYN, SERVICE + 1, LOGGED),
            event(source, UDP, SERVICE + 1, LOGGED),
        ];
        let seen = || -> Vec<String> {
            let lines = sentry.lines().into_iter().map(|line| line.text);
            lines.filter(|line| line.starts_with("Scan from: ") && !is_marker(line)).collect()
        };
        assert_eq!(seen(), early, "{method}");
        wait_until("the ports are watched again", || {
            syn(&bed.scanner, source, target, SERVICE);
            datagram(&bed.scanner, source, target, SERVICE);
            thread::sleep(Duration::from_millis(100));
            let seen = seen();
            [SYN, UDP].iter().all(|kind| seen.contains(&event(source, *kind, SERVICE, LOGGED)))
        });
        sentry.stop();
    }
}

#[test]
fn impossible_packets_to_a_remembered_port_are_probes() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for (method, (source, target)) in METHODS.into_iter().zip(both_families(&bed)) {
        let service = bed.host.enter(|| TcpListener::bind((target, SERVICE))).expect("listen");
        let mut sentry = station.start(&["-m", method]);
        // The sentry has seen the service.
        settle(&bed, target, &mut sentry, None);
        drop(service);
        let family: &[&str] = if target.is_ipv6() { &["-6"] } else { &[] };
        let (at, port) = (target.to_string(), SERVICE.to_string());
        for scan in ["-sS", "-sN", "-sF", "-sX"] {
            let options = ["-n", "-Pn", scan, "-p", &port, "--max-retries", "0", &at];
            bed.scanner.run("nmap", &[&options[..], family].concat());
        }
        settle(&bed, target, &mut sentry, None);
        let expected = [NULL, FIN, XMAS].map(|kind| event(source, kind, SERVICE, LOGGED));
        assert_eq!(probes(&sentry.stop()), expected, "{method}");
    }
}
