//! Peers whose connection this host accepted, services that are back, and the time after the start
//! of the system.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use portsentry_testbed::{Signal, Testbed, holds_soon, require_root};
use rustix::process::kill_process;

use super::BLOCK;
use crate::expected::{BLOCKED, Kind, LOGGED, SYN, UDP, event};
use crate::forgery::Forger;
use crate::probe::{both_families, datagram, syn};
use crate::station::{PROGRAM, Sentry, Station, only_child};

/// A client and the socket of this host that serves it, without the listener.
fn connection(bed: &Testbed, at: &str, target: IpAddr) -> (TcpStream, TcpStream) {
    let listener = bed.host.enter(|| TcpListener::bind(at)).expect("listen");
    let to = SocketAddr::new(target, listener.local_addr().expect("address").port());
    let client = bed.scanner.enter(|| TcpStream::connect(to)).expect("connect");
    let (server, _) = listener.accept().expect("accept");
    (client, server)
}

/// Sends a SYN until the program no longer counts the port as served, and waits for the line.
#[track_caller]
fn probe_until_seen(bed: &Testbed, sentry: &Sentry, (source, target): (IpAddr, IpAddr), port: u16) {
    let start = format!("Scan from: [{source}] ({source}) protocol: [TCP] port: [{port}]");
    let seen = holds_soon(|| {
        syn(&bed.scanner, source, target, port);
        sentry.lines().iter().any(|line| line.text.starts_with(&start))
    });
    assert!(seen, "{sentry:#?}");
}

/// Returns the number of responses to `host`.
fn responses(station: &Station<'_>, host: IpAddr) -> usize {
    station.lines("did").iter().filter(|line| **line == host.to_string()).count()
}

#[test]
fn a_client_of_a_service_that_has_ended_is_spared() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let [v4, v6] = both_families(&bed);
    for (at, ends, closes, port) in [
        ("0.0.0.0:20", v4, false, 20),
        ("[::]:21", v6, false, 21),
        // An IPv6 socket that serves IPv4.
        ("[::]:22", v4, false, 22),
        // The host closes first, so its socket waits (`TIME_WAIT`).
        ("0.0.0.0:23", v4, true, 23),
    ] {
        let station = Station::with(&bed.host, BLOCK);
        let mut sentry = station.start(&[]);
        let (source, target) = ends;
        let open = connection(&bed, at, target);
        if closes {
            let (client, server) = open;
            drop(server);
            drop(client);
            probe_until_seen(&bed, &sentry, ends, port);
        } else {
            probe_until_seen(&bed, &sentry, ends, port);
            drop(open);
        }
        assert_eq!(responses(&station, source), 0, "responses to the client of {at}: {sentry:#?}");
        sentry.wait_for(&event(source, SYN, port, LOGGED));
        let why = format!("Not responding to {source}: it is connected to port {port}");
        assert!(sentry.lines().iter().any(|line| line.text == why), "{why}: {sentry:#?}");
        // Another host is blocked at this port, and this one at another port.
        let other = IpAddr::from([198, 18, 0, 1]);
        let forger = Forger::new(&bed);
        forger.send(&[forger.syn(other, bed.host.v4().into(), port)], 1_000);
        sentry.wait_for(&event(other, SYN, port, BLOCKED));
        syn(&bed.scanner, source, target, 29);
        sentry.wait_for(&event(source, SYN, 29, BLOCKED));
        sentry.stop();
    }
}

/// A service that starts while the request for a response waits.
#[test]
fn a_source_is_spared_when_the_service_is_back() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let [_, (source, target)] = both_families(&bed);
    let check = |kind: Kind, port: u16, serve: &dyn Fn() -> Box<dyn Send>| {
        let is_tcp = kind.protocol == "TCP";
        let other = if is_tcp { "BLOCK_UDP" } else { "BLOCK_TCP" };
        let station = Station::with(&bed.host, &format!("{BLOCK}{other} = \"0\""));
        let mut sentry = station.start(&[]);
        let responder = only_child(sentry.pid());
        kill_process(responder, Signal::STOP).expect("kill");
        // The line of the second packet proves that the response to the first is requested.
        if is_tcp {
            syn(&bed.scanner, source, target, port);
            datagram(&bed.scanner, source, target, 30);
            sentry.wait_for(&event(source, UDP, 30, LOGGED));
        } else {
            datagram(&bed.scanner, source, target, port);
            syn(&bed.scanner, source, target, 30);
            sentry.wait_for(&event(source, SYN, 30, LOGGED));
        }
        let service = serve();
        kill_process(responder, Signal::CONT).expect("kill");
        sentry.wait_for(&event(source, kind, port, LOGGED));
        assert_eq!(responses(&station, source), 0);
        let why = format!("Not responding to {source}: a program serves port {port} now");
        assert!(sentry.lines().iter().any(|line| line.text == why), "{why}: {sentry:#?}");
        drop(service);
        sentry.stop();
    };
    check(SYN, 24, &|| Box::new(bed.host.enter(|| TcpListener::bind(("::", 24))).expect("listen")));
    check(UDP, 25, &|| Box::new(bed.host.enter(|| UdpSocket::bind(("::", 25))).expect("bind")));
}

/// Starts a sentry on a system that seems to have started `uptime` seconds ago.
fn started_after(station: &Station<'_>, uptime: u64) -> Sentry {
    let uptime = Duration::from_secs(uptime);
    let mut command = station.namespace().command_with_uptime(PROGRAM, uptime);
    command.arg("-c").arg(station.path("portsentry.conf"));
    Sentry::watching(command)
}

#[test]
fn no_response_starts_while_the_system_starts() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}SERVED_GRACE = \"10 min\""));
    let mut sentry = started_after(&station, 10);
    let [(source, target), (v6, target_v6)] = both_families(&bed);
    for port in 20..25 {
        syn(&bed.scanner, source, target, port);
        sentry.wait_for(&event(source, SYN, port, LOGGED));
    }
    syn(&bed.scanner, v6, target_v6, 20);
    sentry.wait_for(&event(v6, SYN, 20, LOGGED));
    let ended = sentry.stop();
    assert_eq!(station.lines("did"), [""; 0]);
    let why = "this system has just started; portsentry responds to no host for the next ";
    let printed: Vec<_> = ended.stdout.iter().filter(|line| line.contains(why)).collect();
    assert_eq!(printed.len(), 1, "{ended:#?}");
    assert!(printed[0].starts_with(&format!("Not responding to {source}: {why}")), "{printed:?}");
}

#[test]
fn a_scan_that_continues_after_the_start_of_the_system_is_responded_to() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCK}SERVED_GRACE = \"10 min\""));
    let sentry = started_after(&station, 595);
    let [(source, target), _] = both_families(&bed);
    let blocked = holds_soon(|| {
        syn(&bed.scanner, source, target, 26);
        responses(&station, source) == 1
    });
    assert!(blocked, "{sentry:#?}");
    sentry.stop();
}
