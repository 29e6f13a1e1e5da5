//! Ports that a local program serves are not monitored.

use std::net::{IpAddr, TcpListener, UdpSocket};

use portsentry_testbed::{Testbed, require_root};

use crate::expected::{LOGGED, SYN, UDP, event, served};
use crate::probe::{both_families, can_connect, datagram, is_marker, settle, syn};
use crate::station::Station;

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30,65000"
HISTORY_FILE = "{dir}/history"
"#;

#[test]
fn a_packet_to_a_served_port_is_logged_once_a_minute() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for (source, target) in both_families(&bed) {
        let (tcp, udp) =
            bed.host.enter(|| (TcpListener::bind((target, 22)), UdpSocket::bind((target, 23))));
        let (_tcp, _udp) = (tcp.expect("listen"), udp.expect("bind"));
        let mut sentry = station.start(&[]);
        for _ in 0..3 {
            assert!(can_connect(&bed.scanner, target, 22));
            datagram(&bed.scanner, source, target, 23);
        }
        // The same port numbers of the other protocol are not served.
        syn(&bed.scanner, source, target, 23);
        datagram(&bed.scanner, source, target, 22);
        settle(&bed, target, &mut sentry, None);

        let ended = sentry.stop();
        let printed: Vec<&String> =
            ended.between().iter().filter(|line| !is_marker(line)).collect();
        let expected = [
            served(source, 22),
            served(source, 23),
            event(source, SYN, 23, LOGGED),
            event(source, UDP, 22, LOGGED),
            // Two connections and two datagrams.
            "Suppressed 4 lines about packets to ports with a running service in the last 60 seconds"
                .to_owned(),
        ];
        assert_eq!(printed, expected.iter().collect::<Vec<_>>());
    }
    assert!(station.history().iter().all(|line| line.starts_with("Scan from: ")));
}

#[test]
fn a_port_is_served_only_at_the_address_of_the_service() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source_v4, target_v4), (source_v6, target_v6)] = both_families(&bed);
    let wildcard: IpAddr = "::".parse().expect("address");
    let _only_v4 = bed.host.enter(|| TcpListener::bind((target_v4, 22))).expect("listen");
    let _both = bed.host.enter(|| TcpListener::bind((wildcard, 24))).expect("listen");
    let mut sentry = station.start(&[]);

    assert!(can_connect(&bed.scanner, target_v4, 22));
    sentry.wait_for(&served(source_v4, 22));
    syn(&bed.scanner, source_v6, target_v6, 22);
    sentry.wait_for(&event(source_v6, SYN, 22, LOGGED));
    assert!(can_connect(&bed.scanner, target_v4, 24));
    sentry.wait_for(&served(source_v4, 24));
    assert!(can_connect(&bed.scanner, target_v6, 24));
    sentry.wait_for(&served(source_v6, 24));
    assert_eq!(sentry.stop().events(), [event(source_v6, SYN, 22, LOGGED)]);
}

#[test]
fn services_that_start_and_stop_are_noticed() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);

    syn(&bed.scanner, source, target, 22);
    sentry.wait_for(&event(source, SYN, 22, LOGGED));
    let service = bed.host.enter(|| TcpListener::bind((target, 22))).expect("listen");
    // The sentry reads the socket tables at most four times a second, so the test repeats.
    let count_of = |part: String, sentry: &crate::station::Sentry| {
        sentry.lines().iter().filter(|line| line.text == part).count()
    };
    while count_of(served(source, 22), &sentry) == 0 {
        assert!(can_connect(&bed.scanner, target, 22));
        settle(&bed, target, &mut sentry, None);
    }
    let before = count_of(event(source, SYN, 22, LOGGED), &sentry);
    drop(service);
    while count_of(event(source, SYN, 22, LOGGED), &sentry) == before {
        syn(&bed.scanner, source, target, 22);
        settle(&bed, target, &mut sentry, None);
    }
    sentry.stop();
}

#[test]
fn without_the_service_check_served_ports_are_monitored() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for (source, target) in both_families(&bed) {
        let _service = bed.host.enter(|| TcpListener::bind((target, 22))).expect("listen");
        let mut sentry = station.start(&["-S"]);
        assert!(can_connect(&bed.scanner, target, 22));
        sentry.wait_for(&event(source, SYN, 22, LOGGED));
        sentry.stop();
    }
}
