//! Late replies to queries of the host itself are not logged as probes.

use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::time::Duration;

use etherparse::PacketBuilder;
use portsentry_testbed::{Namespace, SOON, Signal, Testbed, require_root};

use crate::expected::{LOGGED, UDP, event, served};
use crate::forgery::{Forger, hardware};
use crate::probe::{MARKER, both_families, datagram, is_marker, settle};
use crate::station::Station;
use crate::witness::Witness;

/// Includes the ports that the kernel chooses for sockets without a given port.
const CONFIGURATION: &str = r#"
UDP_PORTS = "69,161,20000-65000"
"#;

const METHODS: [&str; 2] = ["pcap", "raw"];

fn socket(namespace: &Namespace, address: IpAddr, port: u16) -> UdpSocket {
    let socket = namespace.enter(|| UdpSocket::bind((address, port))).expect("bind");
    socket.set_read_timeout(Some(SOON)).expect("timeout");
    socket
}

/// Sends `number` queries to `resolver`, each from a socket that is closed immediately,
/// and returns the ports of these sockets.
fn query_and_close(
    host: &Namespace,
    from: IpAddr,
    resolver: &UdpSocket,
    number: u16,
) -> Vec<SocketAddr> {
    let at = resolver.local_addr().expect("address");
    host.enter(|| {
        for _ in 0..number {
            let client = UdpSocket::bind((from, 0)).expect("bind");
            client.send_to(b"who?", at).expect("query");
        }
    });
    let mut question = [0; 16];
    (0..number).map(|_| resolver.recv_from(&mut question).expect("query").1).collect()
}

#[test]
fn solicited_datagrams_are_counted_and_port_53_is_not_exempt() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    // With `-S`, probes of served ports are logged, but solicited datagrams still are not.
    for method in [&["-m", "pcap"][..], &["-m", "raw"], &["-m", "raw", "-S"]] {
        for (scanner, host) in both_families(&bed) {
            let mut sentry = station.start(method);
            let mut witness = Witness::start(&bed.host);
            let resolver = socket(&bed.scanner, scanner, 53);
            let clients = query_and_close(&bed.host, host, &resolver, 100);
            // By now, a snapshot of the sockets would not contain the closed ones.
            std::thread::sleep(Duration::from_millis(300));
            for client in &clients {
                resolver.send_to(b"late", client).expect("reply");
            }
            settle(&bed, host, &mut sentry, Some(&mut witness));
            let ports: Vec<u16> = clients.iter().map(SocketAddr::port).collect();
            let packets = witness.packets(&bed.host).into_iter();
            let arrived: Vec<u16> =
                packets.map(|it| it.port).filter(|port| *port != MARKER).collect();
            assert_eq!(arrived, ports, "{method:?}: not all were on the wire");

            // From another port of the same resolver, and to another port of this host.
            datagram(&bed.scanner, scanner, host, ports[0]);
            sentry.wait_for(&event(scanner, UDP, ports[0], LOGGED));
            drop(resolver);
            let family: &[&str] = if host.is_ipv6() { &["-6"] } else { &[] };
            let scan = ["-n", "-Pn", "-sU", "-g", "53", "-p", "161", "--max-retries", "0"];
            let target = host.to_string();
            bed.scanner.run("nmap", &[&scan[..], family, &[target.as_str()]].concat());
            settle(&bed, host, &mut sentry, None);

            let ended = sentry.stop();
            let mut events = ended.events();
            events.retain(|line| !is_marker(line));
            // nmap has several payloads for some ports.
            events.dedup();
            let expected = [ports[0], 161].map(|port| event(scanner, UDP, port, LOGGED));
            assert_eq!(events, expected, "{method:?}");
            let total = ", 100 replies to queries of this host";
            assert!(ended.stderr.concat().ends_with(total), "{:?}", ended.stderr);
        }
    }
}

/// Real clients send from packet sockets. The address that they get is used immediately.
#[test]
fn leases_of_dhcp_clients_are_solicited() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "UDP_PORTS = \"1-65535\"");
    let (scanner, host) = (bed.scanner.v4(), bed.host.v4());
    let range = format!("--dhcp-range={host},{host},255.255.255.0,2m");
    let on = format!("--interface={}", bed.scanner.interface());
    let leases = format!("--dhcp-leasefile={}", station.path("leases").display());
    let options =
        ["-k", "-C", "/dev/null", "--port=0", "--bind-interfaces", "--no-ping", "--user=root"];
    let options = [&options[..], &["--log-facility=-", &on, &range, &leases]].concat();
    let mut server = bed.scanner.spawn("dnsmasq", &options);
    server.wait_for_line(SOON, |line| line.contains("DHCP, IP range"));
    for method in METHODS {
        let mut sentry = station.start(&["-m", method]);
        let script = station.path("script");
        std::fs::write(&script, "#!/bin/sh\necho \"lease: $1 $ip\"\n").expect("script");
        crate::station::open_to_all(&script);
        let script = script.display().to_string();
        let options = ["-f", "-i", bed.host.interface(), "-s", &script];
        // The address is in use already, as after a restart of the client.
        let mut client = bed.host.spawn("udhcpc", &options);
        client.wait_for_line(SOON, |line| line.contains("lease: bound"));
        client.signal(Signal::USR1);
        client.wait_for_line(SOON, |line| line.contains("lease: renew"));
        datagram(&bed.scanner, scanner.into(), host.into(), 69);
        sentry.wait_for(&event(scanner.into(), UDP, 69, LOGGED));
        assert_eq!(sentry.stop().events().len(), 1, "{method}");
    }
}

/// A server with several addresses, or a relay, replies to a renewal.
#[test]
fn dhcp_renewals_are_answered_from_any_address() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "UDP_PORTS = \"1-65535\"");
    let others: [IpAddr; 2] = ["192.0.2.67", "2001:db8::67"].map(|it| it.parse().expect("address"));
    for other in others {
        bed.scanner.ip(&["address", "add", &other.to_string(), "dev", "lo"]);
        let (at, dev) = (format!("{other}/127"), bed.host.interface());
        let at = if other.is_ipv4() { at.replace("/127", "/32") } else { at };
        bed.host.ip(&["route", "add", &at, "dev", dev]);
    }
    for method in METHODS {
        let mut sentry = station.start(&["-m", method]);
        for ((scanner, host), other) in both_families(&bed).into_iter().zip(others) {
            let (client, server) = if host.is_ipv4() { (68, 67) } else { (546, 547) };
            drop(socket(&bed.host, host, client).send_to(b"renew", (scanner, server)));
            let from = |address, port| socket(&bed.scanner, address, port);
            for server in [from(scanner, server), from(other, server)] {
                server.send_to(b"lease", (host, client)).expect("send");
            }
            from(other, 5_000).send_to(b"probe", (host, client)).expect("send");
            sentry.wait_for(&event(other, UDP, client, LOGGED));
        }
        let ended = sentry.stop();
        assert_eq!(ended.events().len(), 2, "{method}: {ended:#?}");
    }
}

#[test]
fn a_connected_socket_is_a_service_for_its_peer() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    for (scanner, host) in both_families(&bed) {
        // The client sends nothing; otherwise the datagrams would be solicited.
        let client = socket(&bed.host, host, 30_000);
        client.connect((scanner, 5_000)).expect("connect");
        let mut sentry = station.start(&[]);
        let peer = socket(&bed.scanner, scanner, 5_000);
        peer.send_to(b"news", (host, 30_000)).expect("send");
        sentry.wait_for(&served(scanner, 30_000));
        datagram(&bed.scanner, scanner, host, 30_000);
        sentry.wait_for(&event(scanner, UDP, 30_000, LOGGED));
        assert_eq!(sentry.stop().events().len(), 1);
    }
}

#[test]
fn missed_queries_are_reported() {
    const QUERIES: u64 = 20_000;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(scanner, host), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    sentry.signal(Signal::STOP);
    let client = socket(&bed.host, host, 30_000);
    for _ in 0..QUERIES {
        client.send_to(b"who?", (scanner, 53)).expect("query");
    }
    sentry.signal(Signal::CONT);
    let line = sentry.wait_for_part("copies of UDP datagrams that this host sent").text;
    let ended = sentry.stop();
    let missed: u64 = line.split(' ').find_map(|it| it.parse().ok()).expect("a number");
    assert!((1_000..QUERIES).contains(&missed), "{line}");
    let total = format!(", {missed} outgoing datagrams missed by the sensor");
    assert!(ended.stderr.concat().ends_with(&total), "{line}\n{:?}", ended.stderr);
}

#[test]
fn without_memory_for_the_query_filter_the_sentry_still_watches() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let limit = "/proc/sys/net/core/optmem_max";
    if bed.host.enter(|| std::fs::write(limit, "64")).is_err() {
        println!("skipped: this kernel has one {limit} for all namespaces");
        return;
    }
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(scanner, host), _] = both_families(&bed);
    for method in METHODS {
        let mut sentry = station.start(&["-m", method]);
        datagram(&bed.scanner, scanner, host, 69);
        sentry.wait_for(&event(scanner, UDP, 69, LOGGED));
        let printed = "cannot capture the UDP queries of this host (";
        let lines = sentry.lines();
        let printed: Vec<_> = lines.iter().filter(|line| line.text.contains(printed)).collect();
        assert_eq!(printed.len(), 1, "{method}: {lines:#?}");
        assert!(printed[0].text.contains("exclude the ports of net.ipv4.ip_local_port_range"));
        assert_eq!(sentry.stop().status.code(), Some(0));
    }
}

/// Number of flows that are forged.
const FLOWS: u16 = 500;

/// Returns a datagram over IPv6 in an Ethernet frame.
fn datagram_v6(hardware: [[u8; 6]; 2], from: SocketAddrV6, to: SocketAddrV6) -> Vec<u8> {
    let packet = PacketBuilder::ethernet2(hardware[0], hardware[1])
        .ipv6(from.ip().octets(), to.ip().octets(), 64)
        .udp(from.port(), to.port());
    let mut bytes = vec![0; packet.size(4)];
    packet.write_to_slice(&mut bytes, b"who?").expect("a packet");
    bytes
}

#[test]
fn forwarded_datagrams_in_the_name_of_this_host_are_not_its_queries() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
    bed.host.enter(|| std::fs::write(forwarding, "1")).expect("forwarding");
    // The kernels know each other's hardware addresses.
    bed.scanner.run("ping", &["-c1", "-q", &bed.host.v6().to_string()]);
    let station = Station::with(&bed.host, CONFIGURATION);
    let forger = Forger::new(&bed);
    let ends = [hardware(&bed.scanner), hardware(&bed.host)];
    let at = |address, port| SocketAddrV6::new(address, port, 0, 0);
    let ports = 20_001..=20_000 + FLOWS;
    for method in METHODS {
        let mut sentry = station.start(&["-m", method]);
        let mut witness = Witness::start(&bed.scanner);
        let peer = at(bed.scanner.v6(), 5_000);
        let forged = ports.clone().map(|port| datagram_v6(ends, at(bed.host.v6(), port), peer));
        // The last one shows that the host has forwarded all others.
        let last = datagram_v6(ends, at(bed.host.v6(), 20_000), at(bed.scanner.v6(), MARKER));
        forger.send(&forged.chain([last]).collect::<Vec<_>>(), 5_000);
        witness.wait_for_port(MARKER, SOON);
        let probes = ports.clone().map(|port| datagram_v6(ends, peer, at(bed.host.v6(), port)));
        forger.send(&probes.collect::<Vec<_>>(), 5_000);
        settle(&bed, bed.host.v6().into(), &mut sentry, None);

        // A reply to a query of this host is still solicited.
        let resolver = socket(&bed.scanner, bed.scanner.v6().into(), 53);
        let client = query_and_close(&bed.host, bed.host.v6().into(), &resolver, 1);
        resolver.send_to(b"late", client[0]).expect("reply");
        settle(&bed, bed.host.v6().into(), &mut sentry, None);

        let ended = sentry.stop();
        let logged: Vec<_> =
            ended.events().into_iter().filter(|line| !is_marker(line)).map(str::to_owned).collect();
        let source = bed.scanner.v6().into();
        let expected: Vec<_> = ports.clone().map(|port| event(source, UDP, port, LOGGED)).collect();
        assert!(logged == expected, "{method}: {} of {FLOWS} logged", logged.len());
        let total = ", 1 replies to queries of this host";
        assert!(ended.stderr.concat().ends_with(total), "{method}: {:?}", ended.stderr);
    }
}
