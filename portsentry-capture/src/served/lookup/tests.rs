//! The kernel's answers about real sockets.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use portsentry_core::TcpFlags;
use portsentry_testbed::{Namespace, require_root};

use super::*;

fn syn(from: &str, to: &str) -> Observation {
    Observation::segment(from.parse().unwrap(), to.parse().unwrap(), TcpFlags::SYN)
}

fn datagram(from: &str, to: &str) -> Observation {
    Observation::datagram(from.parse().unwrap(), to.parse().unwrap())
}

/// Asserts that the kernel has a socket for exactly the observations with `true`.
#[track_caller]
fn check(lookup: &mut SocketLookup, cases: &[(Observation, bool)]) {
    let observations: Vec<Observation> = cases.iter().map(|(it, _)| *it).collect();
    let found = lookup.find(&observations, u64::MAX >> (64 - cases.len()), Instant::default());
    for (index, (observation, expected)) in cases.iter().enumerate() {
        assert_eq!(found >> index & 1 == 1, *expected, "{observation:?}");
    }
}

#[test]
fn listening_and_bound_sockets_are_found() {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    namespace.enter(|| {
        let tcp = ["0.0.0.0:1001", "127.0.0.1:1002", "[::]:1003", "[::1]:1004"]
            .map(|at| TcpListener::bind(at).unwrap());
        let udp = ["0.0.0.0:2001", "127.0.0.1:2002", "[::]:2003", "[::1]:2004"]
            .map(|at| UdpSocket::bind(at).unwrap());
        let connected = UdpSocket::bind("127.0.0.1:2005").unwrap();
        connected.connect("127.0.0.1:53").unwrap();
        let (v4, v6) = ("127.0.0.9:4000", "[::1]:4000");
        let mut lookup = SocketLookup::new(1_000);
        let cases = [
            (syn(v4, "127.0.0.1:1001"), true),
            (syn(v4, "127.0.0.7:1001"), true),
            (syn(v6, "[::1]:1001"), false),
            (syn(v4, "127.0.0.1:1002"), true),
            (syn(v4, "127.0.0.7:1002"), false),
            (syn(v4, "127.0.0.1:1003"), true),
            (syn(v6, "[::1]:1003"), true),
            (syn(v4, "127.0.0.1:1004"), false),
            (syn(v6, "[::1]:1004"), true),
            (syn(v4, "127.0.0.1:2001"), false),
            (datagram(v4, "127.0.0.1:2001"), true),
            (datagram(v6, "[::1]:2001"), false),
            (datagram(v4, "127.0.0.1:2002"), true),
            (datagram(v4, "127.0.0.7:2002"), false),
            (datagram(v4, "127.0.0.1:2003"), true),
            (datagram(v6, "[::1]:2003"), true),
            (datagram(v6, "[::1]:2004"), true),
            (datagram(v4, "127.0.0.1:1001"), false),
            (datagram("127.0.0.1:53", "127.0.0.1:2005"), true),
            (datagram("127.0.0.1:54", "127.0.0.1:2005"), false),
            (datagram("127.0.0.2:53", "127.0.0.1:2005"), false),
        ];
        check(&mut lookup, &cases);
        let found = cases.iter().filter(|(_, has)| *has).count() as u64;
        let asked = cases.len() as u64;
        assert_eq!(lookup.stats(), LookupStats { asked, found, ..LookupStats::default() });
        drop((tcp, udp));
        check(&mut lookup, &[(syn(v4, "127.0.0.1:1001"), false)]);
    });
}

#[test]
fn a_socket_restricted_to_ipv6_or_to_an_interface_is_found_only_there() {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket, sockopt};
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    namespace.enter(|| {
        let only_v6 = socket(AddressFamily::INET6, SocketType::STREAM, None).unwrap();
        sockopt::set_ipv6_v6only(&only_v6, true).unwrap();
        bind(&only_v6, &"[::]:1001".parse::<SocketAddr>().unwrap()).unwrap();
        listen(&only_v6, 1).unwrap();
        let on_loopback = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        nix::sys::socket::setsockopt(
            &on_loopback,
            nix::sys::socket::sockopt::BindToDevice,
            &"lo".into(),
        )
        .unwrap();
        bind(&on_loopback, &"0.0.0.0:1002".parse::<SocketAddr>().unwrap()).unwrap();
        listen(&on_loopback, 1).unwrap();
        let (v4, v6) = ("127.0.0.9:4000", "[::1]:4000");
        // Loopback is the first interface of each namespace.
        check(
            &mut SocketLookup::new(1_000),
            &[
                (syn(v6, "[::1]:1001"), true),
                (syn(v4, "127.0.0.1:1001"), false),
                (syn(v4, "127.0.0.1:1002").on(1), true),
                (syn(v4, "127.0.0.1:1002").on(2), false),
            ],
        );
    });
}

#[test]
fn connections_are_found_after_their_listener_is_gone() {
    let Some(root) = require_root() else { return };
    let namespace = Namespace::isolated(root);
    namespace.enter(|| {
        let mut lookup = SocketLookup::new(1_000);
        for (bound, to) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::1]:0", "::1")]
        {
            let listener = TcpListener::bind(bound).unwrap();
            let at = SocketAddr::new(to.parse().unwrap(), listener.local_addr().unwrap().port());
            let mut client = TcpStream::connect(at).unwrap();
            let from = client.local_addr().unwrap();
            let packet = Observation::segment(from, at, TcpFlags::SYN);
            let mut other = packet;
            other.source_port ^= 1;
            let (server, _) = listener.accept().unwrap();
            drop(listener);
            check(&mut lookup, &[(packet, true), (other, false)]);
            // The side that closes first waits (RFC 9293 section 3.6).
            drop(server);
            assert_eq!(client.read(&mut [0]).unwrap(), 0);
            drop(client);
            check(&mut lookup, &[(packet, true), (other, false)]);
        }
    });
}

#[test]
fn the_limit_holds_and_is_counted() {
    let mut lookup = SocketLookup::new(10);
    let packets = [syn("127.0.0.9:4000", "127.0.0.1:1"); 64];
    let now = Instant::from_secs(1);
    lookup.find(&packets, u64::MAX, now);
    lookup.find(&packets, 0b101, now);
    lookup.find(&packets, 0b101, Instant::from_secs(2));
    let LookupStats { asked, skipped, failed, .. } = lookup.stats();
    assert_eq!((asked, skipped, failed), (12, 54 + 2, 0));
}

#[test]
fn malformed_replies_are_ignored() {
    let reply = |kind: u16, length: usize| {
        let mut bytes = [&20_u32.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 2]].concat();
        bytes.extend_from_slice(&7_u32.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        bytes.truncate(length);
        Reply::parse(&bytes)
    };
    assert_eq!(reply(SOCK_DIAG_BY_FAMILY, 20), Some(Reply { number: 7, has_socket: true }));
    assert_eq!(reply(NLMSG_ERROR, 20), Some(Reply { number: 7, has_socket: false }));
    assert_eq!(reply(3, 20), None);
    for length in 0..20 {
        assert_eq!(reply(SOCK_DIAG_BY_FAMILY, length), None);
    }
}
