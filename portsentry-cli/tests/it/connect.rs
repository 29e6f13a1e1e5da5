//! Connect mode with real clients and scanners, and the replies that they get.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use portsentry_testbed::{Namespace, SOON, Signal, Testbed, require_root};
use rustix::io::Errno;
use rustix::net::sockopt::{set_socket_reuseaddr, set_socket_reuseport};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with};

use crate::expected::{
    BELOW_TRIGGER, BLOCKED, IGNORED, LOGGED, already_blocked, command_run, route_dropped,
};
use crate::probe::{both_families, can_connect};
use crate::station::{Ended, Station};

const BANNER: &str = "** UNAUTHORIZED ACCESS PROHIBITED ** (?!)";

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-23,25,1433"
UDP_PORTS = "69,161,65000"
HISTORY_FILE = "{dir}/history"
PORT_BANNER = "** UNAUTHORIZED ACCESS PROHIBITED ** (?!)"
"#;

const ALONE: Duration = Duration::from_millis(300);

/// Returns the line of a probe in connect mode.
pub(crate) fn connected(source: IpAddr, protocol: &str, port: u16, end: &str) -> String {
    format!(
        "Scan from: [{source}] ({source}) protocol: [{protocol}] port: [{port}] \
         type: [Connect] IP opts: [unknown] {end}"
    )
}

/// Connects, sends a request, and reads to the end.
fn visit(scanner: &Namespace, to: IpAddr, port: u16) -> io::Result<String> {
    let mut stream = scanner.enter(|| TcpStream::connect_timeout(&(to, port).into(), SOON))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Sends a datagram and returns the reply, if one comes from the same address and port.
fn ask(scanner: &Namespace, to: IpAddr, port: u16, patience: Duration) -> Option<String> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
    let socket = scanner.enter(|| UdpSocket::bind((any, 0))).expect("bind");
    socket.connect((to, port)).expect("connect");
    socket.set_read_timeout(Some(patience)).expect("timeout");
    socket.send(b"?").expect("send");
    let mut buffer = [0; 1000];
    let length = socket.recv(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

#[test]
fn each_connection_and_datagram_of_a_scan_is_logged() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let check = |target: IpAddr, scan: &str, ports: &str, expected: Vec<String>| {
        // Options of the stealth mode have no effect.
        let sentry = station.start(&["--connect", "-i", "nosuch0", "-m", "pcap"]);
        let target_text = target.to_string();
        let family: &[&str] = if target.is_ipv6() { &["-6"] } else { &[] };
        let options = ["-n", "-Pn", "--disable-arp-ping", "--max-retries", "0", scan, "-p", ports];
        let report = bed.scanner.run("nmap", &[&options[..], family, &[&target_text]].concat());
        let ended = sentry.stop();
        // nmap may send several payloads to one UDP port.
        let printed: BTreeSet<String> = ended.between().iter().cloned().collect();
        assert_eq!(printed, expected.into_iter().collect(), "nmap {scan} {target}\n{report}");
    };
    for (source, target) in both_families(&bed) {
        let lines = |protocol: &str, ports: &[u16]| -> Vec<String> {
            ports.iter().map(|port| connected(source, protocol, *port, LOGGED)).collect()
        };
        check(target, "-sT", "19-26,1432-1434", lines("TCP", &[20, 21, 22, 23, 25, 1433]));
        check(target, "-sU", "68-70,161", lines("UDP", &[69, 161]));
        // This scan completes no handshake.
        check(target, "-sS", "19-26,1432-1434", Vec::new());
    }
}

#[test]
fn clients_get_the_banner_from_the_address_that_they_contacted() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    bed.host.ip(&["address", "add", "192.0.2.77/32", "dev", "lo"]);
    bed.scanner.ip(&["route", "add", "192.0.2.77", "via", &bed.host.v4().to_string()]);
    let station = Station::with(&bed.host, CONFIGURATION);
    let sentry = station.start(&["--connect"]);
    let second = (bed.scanner.v4().into(), IpAddr::from([192, 0, 2, 77]));
    let mut expected = Vec::new();
    for (source, target) in both_families(&bed).into_iter().chain([second]) {
        assert_eq!(visit(&bed.scanner, target, 22).expect("banner"), BANNER);
        assert_eq!(ask(&bed.scanner, target, 161, SOON).as_deref(), Some(BANNER));
        expected.push(connected(source, "TCP", 22, LOGGED));
        expected.push(connected(source, "UDP", 161, LOGGED));
    }
    // A broadcast gets no reply.
    let broadcaster = bed.scanner.enter(|| UdpSocket::bind((bed.scanner.v4(), 0))).expect("bind");
    broadcaster.set_broadcast(true).expect("broadcast");
    broadcaster.send_to(b"?", ("255.255.255.255", 161)).expect("send");
    // The sentry reads this datagram after the broadcast, from the same socket.
    assert_eq!(ask(&bed.scanner, bed.host.v4().into(), 161, SOON).as_deref(), Some(BANNER));
    expected.push(connected(bed.scanner.v4().into(), "UDP", 161, LOGGED));

    let ended = sentry.stop();
    assert_eq!(ended.events(), expected);
    let summary = "3 connections and 5 datagrams, 7 probes, 0 dropped by the kernel, \
                   0 undecodable, 7 banners sent";
    assert_eq!(ended.stderr, [summary]);
    assert_eq!(station.history(), expected);
}

#[test]
fn sources_ignored_or_below_the_trigger_get_no_banner() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(v4, target_v4), (v6, target_v6)] = both_families(&bed);
    let more = "SCAN_TRIGGER = \"2\"\nIGNORE_FILE = \"{dir}/ignore\"\n";
    station.configure(&(CONFIGURATION.to_owned() + more));
    station.write("ignore", &format!("{v6}\n"));
    let sentry = station.start(&["--connect"]);
    assert_eq!(visit(&bed.scanner, target_v6, 22).unwrap_or_default(), "");
    assert_eq!(ask(&bed.scanner, target_v6, 69, ALONE), None);
    assert_eq!(visit(&bed.scanner, target_v4, 22).unwrap_or_default(), "");
    assert_eq!(visit(&bed.scanner, target_v4, 23).expect("banner"), BANNER);
    assert_eq!(ask(&bed.scanner, target_v4, 69, SOON).as_deref(), Some(BANNER));
    let expected = [
        connected(v6, "TCP", 22, IGNORED),
        connected(v6, "UDP", 69, IGNORED),
        connected(v4, "TCP", 22, BELOW_TRIGGER),
        connected(v4, "TCP", 23, LOGGED),
        connected(v4, "UDP", 69, LOGGED),
    ];
    assert_eq!(sentry.stop().events(), expected);
}

#[test]
fn responses_receive_the_mode_connect() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(v4, target_v4), (v6, target_v6)] = both_families(&bed);
    let more = "BLOCK_TCP = \"1\"\nBLOCK_UDP = \"2\"\nBLOCKED_FILE = \"{dir}/blocked\"\n\
                KILL_ROUTE = \"echo route $TARGET$ $PORT$ $MODE$ >> {dir}/done\"\n\
                KILL_RUN_CMD = \"echo run $TARGET$ $PORT$ $MODE$ >> {dir}/done\"\n";
    station.configure(&(CONFIGURATION.to_owned() + more));
    let mut sentry = station.start(&["--connect"]);
    assert_eq!(visit(&bed.scanner, target_v4, 21).expect("banner"), BANNER);
    sentry.wait_for(&connected(v4, "TCP", 21, BLOCKED));
    // A blocked host still gets the banner if its packets arrive.
    assert_eq!(visit(&bed.scanner, target_v4, 22).expect("banner"), BANNER);
    assert_eq!(ask(&bed.scanner, target_v6, 161, SOON).as_deref(), Some(BANNER));
    sentry.wait_for(&connected(v6, "UDP", 161, BLOCKED));
    let ended = sentry.stop();
    let command = |word: &str, host: IpAddr, port: u16| format!("{word} {host} {port} connect");
    let run = |text: &str| station.expand(&format!("echo {text} >> {{dir}}/done"));
    let done = [command("route", v4, 21), command("run", v4, 21), command("run", v6, 161)];
    assert_eq!(station.lines("done"), done);
    let expected = [
        route_dropped(v4, &run(&done[0])),
        command_run(v4, &run(&done[1])),
        connected(v4, "TCP", 21, BLOCKED),
        already_blocked(v4),
        connected(v4, "TCP", 22, BLOCKED),
        command_run(v6, &run(&done[2])),
        connected(v6, "UDP", 161, BLOCKED),
    ];
    assert_eq!(ended.between(), expected);
}

/// Tries to bind a port in use, with every option that could help.
fn seize(kind: SocketType, port: u16) -> Result<(), Errno> {
    let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
    set_socket_reuseaddr(&socket, true)?;
    set_socket_reuseport(&socket, true)?;
    bind(&socket, &SocketAddr::from(([0; 4], port)))?;
    if kind == SocketType::STREAM { listen(&socket, 1) } else { Ok(()) }
}

#[test]
fn a_port_in_use_is_reported_and_the_others_are_bound() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"22-23\"\nUDP_PORTS = \"161-162\"\n");
    let service = bed.host.enter(|| TcpListener::bind((bed.host.v4(), 22))).expect("listen");
    let other = bed.host.enter(|| UdpSocket::bind((bed.host.v4(), 161))).expect("bind");
    let sentry = station.start(&["--connect", "-v"]);
    assert!(can_connect(&bed.scanner, bed.host.v4().into(), 23));
    // No process can bind a port of the sentry, with any option.
    assert_eq!(bed.host.enter(|| seize(SocketType::STREAM, 23)), Err(Errno::ADDRINUSE));
    assert_eq!(bed.host.enter(|| seize(SocketType::DGRAM, 162)), Err(Errno::ADDRINUSE));
    let ended = sentry.stop();
    let refused = |what: &str| format!("Cannot listen on {what}: Address already in use");
    let errors: Vec<&String> = ended.stderr.iter().take(2).collect();
    assert_eq!(errors, [&refused("TCP port 22"), &refused("UDP port 161")]);
    let listening: Vec<&String> =
        ended.stdout.iter().filter(|line| line.starts_with("Listen on")).collect();
    let expected = ["Listen on AF_INET6: TCP port: 23", "Listen on AF_INET6: UDP port: 162"];
    assert_eq!(listening, expected);
    assert_eq!(ended.events().len(), 1);

    // Connections of the previous run are still closing, which must not prevent the start.
    station.configure("TCP_PORTS = \"22-23\"\n");
    let sentry = station.start(&["--connect"]);
    assert_eq!(sentry.stop().stderr[0], refused("TCP port 22"));

    station.configure("TCP_PORTS = \"22\"\nUDP_PORTS = \"161\"\n");
    let ended = Ended::running(station.command(&["--connect"]));
    assert_eq!(ended.status.code(), Some(1));
    let last = "portsentry: connect mode: cannot listen on any of the monitored ports";
    assert_eq!(ended.stderr, [refused("TCP port 22"), refused("UDP port 161"), last.to_owned()]);
    drop((service, other));
}

#[test]
fn only_the_given_addresses_are_bound() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"22\"\n");
    let [(source, v4), (_, v6)] = both_families(&bed);
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let reached = |to: IpAddr| can_connect(&bed.host, to, 22);
    let (given, absent) = (v4.to_string(), "192.0.2.99");
    let sentry =
        station.start(&["--connect", "-v", "--bind", &given, "--bind", &given, "--bind", absent]);
    assert!(can_connect(&bed.scanner, v4, 22));
    assert!(!reached(loopback) && !reached(v6));
    let ended = sentry.stop();
    assert_eq!(ended.events(), [connected(source, "TCP", 22, LOGGED)]);
    let listening = "Listen on AF_INET: TCP port: 22".to_owned();
    assert_eq!(ended.stdout.iter().filter(|line| **line == listening).count(), 1);
    let error = format!("Cannot listen on {absent}: this host does not have that address");
    assert_eq!(ended.stderr[0], error);

    let sentry = station.start(&["--connect", "--bind", "::"]);
    assert!(reached(v6) && !reached(v4));
    sentry.stop();
    let sentry = station.start(&["--connect", "--bind", "::", "--bind", "0.0.0.0"]);
    assert!(reached(v6) && reached(v4));
    sentry.stop();
}

#[test]
fn a_reload_binds_and_closes_ports() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let (_, target) = both_families(&bed)[0];
    let mut sentry = station.start(&["--connect"]);
    assert_eq!(visit(&bed.scanner, target, 20).expect("banner"), BANNER);
    station.configure("TCP_PORTS = \"22-24\"\nUDP_PORTS = \"70\"\nPORT_BANNER = \"new\"\n");
    sentry.signal(Signal::HUP);
    sentry.wait_for_part("Configuration reloaded; changed: TCP_PORTS, UDP_PORTS");
    for port in [22, 24] {
        assert_eq!(visit(&bed.scanner, target, port).expect("banner"), "new");
    }
    assert_eq!(ask(&bed.scanner, target, 70, SOON).as_deref(), Some("new"));
    for port in [20, 25] {
        let error = visit(&bed.scanner, target, port).expect_err("closed");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
    assert_eq!(sentry.stop().events().len(), 4);
}

#[test]
fn too_few_descriptors_cause_a_clear_error() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"1000-1999\"\n");
    // Without the capability to exceed the limit, which even root may lack.
    let mut command = bed.host.command("prlimit");
    command.args(["--nofile=256:256", "setpriv", "--bounding-set=-sys_resource"]);
    command.args(["--inh-caps=-sys_resource", crate::station::PROGRAM, "--connect", "-c"]);
    command.arg(station.path("portsentry.conf"));
    let ended = Ended::running(command);
    assert_eq!(ended.status.code(), Some(1));
    let error = "portsentry: 1000 monitored ports need 1112 open files, and 256 are allowed; \
                 raise the limit (ulimit -n 1112, or LimitNOFILE=1112 in the service's unit) \
                 or monitor fewer ports";
    assert_eq!(ended.stderr, [error]);
    // A soft limit is raised without a message.
    let mut command = bed.host.command("prlimit");
    command.args(["--nofile=256:4096", "setpriv", "--bounding-set=-sys_resource"]);
    command.args(["--inh-caps=-sys_resource", crate::station::PROGRAM, "--connect", "-c"]);
    command.arg(station.path("portsentry.conf"));
    let sentry = crate::station::Sentry::watching(command);
    assert!(can_connect(&bed.scanner, bed.host.v4().into(), 1999));
    assert_eq!(sentry.stop().events().len(), 1);
}
