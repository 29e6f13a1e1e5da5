//! Guests of this host are not scanners: clients of a service that restarts, and of services
//! that listen for a moment only.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use portsentry_testbed::{Namespace, Testbed, require_root, wait_until};

use crate::expected::{FIN, LOGGED, NULL, SYN, UDP, XMAS, event};
use crate::forgery::Forger;
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

/// One transfer over a connection to a port that is open for this connection only. Returns
/// the port.
fn transfer(bed: &Testbed, target: IpAddr, server_closes_first: bool) -> u16 {
    let listener = bed.host.enter(|| TcpListener::bind((target, 0))).expect("listen");
    let at = listener.local_addr().expect("address");
    let mut client = bed.scanner.enter(|| TcpStream::connect(at)).expect("connect");
    let (mut server, _) = listener.accept().expect("accept");
    drop(listener);
    let (sender, receiver) =
        if server_closes_first { (&mut server, &mut client) } else { (&mut client, &mut server) };
    sender.write_all(&[7; 10_000]).expect("write");
    sender.shutdown(std::net::Shutdown::Write).expect("shutdown");
    let mut bytes = Vec::new();
    receiver.read_to_end(&mut bytes).expect("read");
    assert_eq!(bytes.len(), 10_000);
    at.port()
}

#[test]
fn clients_of_short_listeners_are_no_scanners() {
    const TRANSFERS: usize = 20;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for server_closes_first in [true, false] {
        for (method, (_, target)) in METHODS.into_iter().zip(both_families(&bed)) {
            let mut sentry = station.start(&["-m", method]);
            for _ in 0..TRANSFERS {
                transfer(&bed, target, server_closes_first);
            }
            settle(&bed, target, &mut sentry, None);
            let who = if server_closes_first { "server" } else { "client" };
            check_none(&sentry.stop(), &format!("{method}, the {who} closes first"));
        }
    }
}

#[test]
fn peers_of_short_datagram_sockets_are_no_scanners() {
    const CALLS: usize = 20;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for (method, (source, target)) in METHODS.into_iter().zip(both_families(&bed)) {
        let mut sentry = station.start(&["-m", method]);
        for _ in 0..CALLS {
            let call = bed.host.enter(|| UdpSocket::bind((target, 0))).expect("bind");
            let at = call.local_addr().expect("address");
            let peer = bed.scanner.enter(|| UdpSocket::bind((source, 0))).expect("bind");
            for _ in 0..3 {
                peer.send_to(b"sound", at).expect("send");
                call.recv(&mut [0; 8]).expect("receive");
                // A packet is read some milliseconds after its arrival.
                thread::sleep(Duration::from_millis(10));
            }
            drop(call);
            peer.send_to(b"late", at).expect("send");
        }
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
        let scan = |kind| {
            let options = ["-n", "-Pn", kind, "-p", &port, "--max-retries", "0", &at];
            bed.scanner.run("nmap", &[&options[..], family].concat());
        };
        // The last snapshot of served ports can be from before the end of the service.
        let first = event(source, NULL, SERVICE, LOGGED);
        wait_until("the end of the service is noticed", || {
            scan("-sN");
            sentry.lines().iter().any(|line| line.text == first)
        });
        for kind in ["-sS", "-sF", "-sX"] {
            scan(kind);
        }
        settle(&bed, target, &mut sentry, None);
        let expected = [NULL, FIN, XMAS].map(|kind| event(source, kind, SERVICE, LOGGED));
        let ended = sentry.stop();
        let mut found = probes(&ended);
        found.dedup();
        assert_eq!(found, expected, "{method}");
    }
}

/// Above the limit of lookups, probes are logged without one.
#[test]
fn a_flood_above_the_limit_of_lookups_is_logged_completely() {
    const PROBES: u16 = 10_000;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(_, target), _] = both_families(&bed);
    let forger = Forger::new(&bed);
    for method in METHODS {
        let mut sentry = station.start(&["-m", method]);
        let source = |port: u16| Ipv4Addr::from(0x0b00_0000 + u32::from(port)).into();
        let frames: Vec<Vec<u8>> =
            (1..=PROBES).map(|port| forger.syn(source(port), target, port)).collect();
        forger.send(&frames, 20_000);
        settle(&bed, target, &mut sentry, None);
        let ended = sentry.stop();
        let expected: Vec<String> =
            (1..=PROBES).map(|port| event(source(port), SYN, port, LOGGED)).collect();
        assert!(probes(&ended) == expected, "{method}: {} lines", probes(&ended).len());
        let summary = ended.stderr.concat();
        let (before, _) =
            summary.split_once(" packets not looked up in the socket tables").expect("a number");
        let skipped: u32 = before.rsplit(' ').next().expect("word").parse().expect("number");
        // A second's worth is saved, and the flood takes half a second.
        assert!((1..=u32::from(PROBES) - 1_000).contains(&skipped), "{method}: {summary}");
    }
}
