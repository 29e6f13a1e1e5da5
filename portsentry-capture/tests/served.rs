//! Served ports compared with real sockets and with `ss`. Each test creates its own network
//! namespaces.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;

use portsentry_capture::served_ports;
use portsentry_core::{Protocol, ServedPorts};
use portsentry_testbed::{Namespace, Testbed, require_root};
use rustix::net::{AddressFamily, Shutdown, SocketType, bind, listen, shutdown, socket, sockopt};

/// Returns a socket of this kind that is bound to `at`.
fn bound(kind: SocketType, at: &str, v6_only: bool) -> OwnedFd {
    let at: SocketAddr = at.parse().expect("address");
    let family = if at.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket(family, kind, None).expect("socket");
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, v6_only).expect("IPV6_V6ONLY");
    }
    bind(&socket, &at).expect("bind");
    socket
}

fn listening(at: &str, v6_only: bool) -> OwnedFd {
    let socket = bound(SocketType::STREAM, at, v6_only);
    listen(&socket, 5).expect("listen");
    socket
}

#[test]
fn a_socket_serves_its_bound_address() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let (v4, v6) = (IpAddr::V4(bed.host.v4()), IpAddr::V6(bed.host.v6()));
    let at = |address: IpAddr, port| SocketAddr::from((address, port)).to_string();
    let other: IpAddr = "127.0.0.1".parse().expect("address");
    let served = bed.host.enter(|| {
        let _sockets = [
            listening("0.0.0.0:2001", false),
            listening("[::]:2002", false),
            listening("[::]:2003", true),
            listening(&at(v4, 2004), false),
            listening(&at(v6, 2005), false),
            listening("[::ffff:127.0.0.1]:2006", false),
            bound(SocketType::STREAM, "0.0.0.0:2007", false),
            bound(SocketType::DGRAM, "0.0.0.0:3001", false),
            bound(SocketType::DGRAM, "[::]:3002", false),
            bound(SocketType::DGRAM, "[::]:3003", true),
            bound(SocketType::DGRAM, &at(v6, 3004), false),
        ];
        let connected = UdpSocket::bind(at(v4, 3005)).expect("bind");
        connected.connect((bed.scanner.v4(), 9)).expect("connect");
        served_ports().expect("served ports")
    });
    let check = |protocol, port, expected: [bool; 3]| {
        let found = [v4, v6, other].map(|address| served.serves(protocol, address, port));
        assert_eq!(found, expected, "{protocol:?} {port}");
    };
    check(Protocol::Tcp, 2001, [true, false, true]);
    check(Protocol::Tcp, 2002, [true, true, true]);
    check(Protocol::Tcp, 2003, [false, true, false]);
    check(Protocol::Tcp, 2004, [true, false, false]);
    check(Protocol::Tcp, 2005, [false, true, false]);
    check(Protocol::Tcp, 2006, [false, false, true]);
    // Bound but not listening.
    check(Protocol::Tcp, 2007, [false, false, false]);
    check(Protocol::Udp, 2001, [false, false, false]);
    check(Protocol::Udp, 3001, [true, false, true]);
    check(Protocol::Udp, 3002, [true, true, true]);
    check(Protocol::Udp, 3003, [false, true, false]);
    check(Protocol::Udp, 3004, [false, true, false]);
    // Connected: only the peer can reach it.
    check(Protocol::Udp, 3005, [false, false, false]);
    check(Protocol::Tcp, 3001, [false, false, false]);
}

/// Returns whether the kernel delivers `client`'s datagrams; otherwise it reports that the
/// port is closed.
#[track_caller]
fn is_delivered(client: &UdpSocket, at: SocketAddr, server: &UdpSocket) -> bool {
    client.connect(at).expect("connect");
    client.send(b"there?").expect("send");
    let mut buffer = [0; 16];
    for _ in 0..1_000 {
        if server.recv(&mut buffer).is_ok() {
            return true;
        }
        match client.recv(&mut buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return false,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            other => panic!("{other:?}"),
        }
    }
    panic!("{at} neither receives nor refuses");
}

#[test]
fn a_connected_socket_serves_its_peer_only() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let ends: [(IpAddr, IpAddr); 2] = [
        (bed.host.v4().into(), bed.scanner.v4().into()),
        (bed.host.v6().into(), bed.scanner.v6().into()),
    ];
    for (host, scanner) in ends {
        let client = |port| {
            let client = bed.scanner.enter(|| UdpSocket::bind((scanner, port))).expect("bind");
            let patience = std::time::Duration::from_millis(10);
            client.set_read_timeout(Some(patience)).expect("time-out");
            client
        };
        let server = bed.host.enter(|| UdpSocket::bind((host, 3006))).expect("bind");
        server.set_nonblocking(true).expect("O_NONBLOCK");
        let at = SocketAddr::new(host, 3006);
        let (peer, stranger) = (client(5001), client(5002));
        let check = |open_to_all: bool| {
            let served = bed.host.enter(served_ports).expect("served ports");
            assert_eq!(served.serves(Protocol::Udp, host, 3006), open_to_all);
            for (client, is_peer) in [(&peer, true), (&stranger, false)] {
                let from = client.local_addr().expect("address");
                let found = served.serves(Protocol::Udp, host, 3006)
                    || served.is_connected((host, 3006), (from.ip(), from.port()));
                assert_eq!(found, is_delivered(client, at, &server), "{from} {open_to_all}");
                assert_eq!(found, is_peer || open_to_all, "{from}");
            }
        };
        check(true);
        server.connect((scanner, 5001)).expect("connect");
        check(false);
    }
}

/// Returns whether `ss` lists a service at `address` and `port`.
fn serves_by_ss(listing: &str, protocol: Protocol, address: IpAddr, port: u16) -> bool {
    listing.lines().any(|line| {
        let mut words = line.split_ascii_whitespace();
        let (netid, local) = (words.next().expect("netid"), words.nth(3).expect("local address"));
        let (bound, bound_port) = local.rsplit_once(':').expect("port");
        let bound = bound.trim_start_matches('[').trim_end_matches(']');
        let covers = match bound {
            "*" => true,
            "0.0.0.0" => address.is_ipv4(),
            "::" => address.is_ipv6(),
            bound => bound.parse::<IpAddr>().expect("address") == address,
        };
        let wanted = if protocol == Protocol::Tcp { "tcp" } else { "udp" };
        netid == wanted && covers && bound_port.parse() == Ok(port)
    })
}

#[test]
fn many_sockets_match_the_listing_of_ss() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let places =
        ["0.0.0.0".to_owned(), "[::]".to_owned(), bed.host.v4().to_string(), "[::1]".to_owned()];
    bed.host.enter(|| {
        let mut sockets = Vec::new();
        for port in 10_000_usize..10_100 {
            let at = format!("{}:{port}", places[port % places.len()]);
            sockets.push(listening(&at, port % 8 < 4));
            sockets.push(bound(SocketType::DGRAM, &at, port % 8 < 4));
        }
        let listing = bed.host.run("ss", &["-H", "-l", "-n", "-t", "-u"]);
        assert_eq!(listing.lines().count(), sockets.len());
        let served = served_ports().expect("served ports");
        let addresses: [IpAddr; 4] = [
            bed.host.v4().into(),
            bed.host.v6().into(),
            "127.0.0.1".parse().expect("address"),
            "::1".parse().expect("address"),
        ];
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for address in addresses {
                for port in 9_990..10_110 {
                    let expected = serves_by_ss(&listing, protocol, address, port);
                    let found = served.serves(protocol, address, port);
                    assert_eq!(found, expected, "{protocol:?} {address} {port}\n{listing}");
                }
            }
        }
    });
}

#[test]
fn connections_are_not_services() {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    namespace.enter(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
        let at = listener.local_addr().expect("address");
        let client = TcpStream::connect(at).expect("connect");
        let (server, _) = listener.accept().expect("accept");
        let serves = |at: SocketAddr| {
            let served: ServedPorts = served_ports().expect("served ports");
            served.serves(Protocol::Tcp, at.ip(), at.port())
        };
        assert!(serves(at));
        assert!(!serves(client.local_addr().expect("address")));
        // Dropping is not enough: a child that another test starts may have inherited it.
        shutdown(&listener, Shutdown::Both).expect("shutdown");
        drop(listener);
        assert_eq!(server.local_addr().expect("address"), at);
        assert!(!serves(at), "a connection counted as a service");
    });
}
