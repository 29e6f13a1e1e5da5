//! Which ports local programs serve, as the kernel's socket tables say.
//!
//! Nothing is bound, opened or connected to find out: a sentry that tried each
//! port would be seen, and would answer. The tables come over sock_diag
//! (`sock_diag(7)`), or from `/proc` where the kernel lacks that. A snapshot is
//! what it is: whoever keeps one takes a new one from time to time.

mod proc_net;
mod sock_diag;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use portsentry_core::{Protocol, ServedPorts};

/// A snapshot of the ports that are served, for the network namespace of the
/// calling thread.
///
/// A port is served by a TCP socket that listens, and by a UDP socket that is
/// bound. One that is connected takes datagrams of its peer alone (`udp(7)`) and
/// serves no other: to everybody else the kernel says that the port is closed. An
/// IPv6 socket on the
/// wildcard serves IPv4 too, unless it is restricted to IPv6. On a host with
/// 1,000 sockets that serve, about a millisecond over sock_diag.
///
/// # Errors
///
/// When neither source can be read; neither needs a privilege.
pub fn served_ports() -> io::Result<ServedPorts> {
    let sockets = sock_diag::sockets().or_else(|error| {
        log::debug!("no socket table over sock_diag ({error}), reading /proc");
        proc_net::sockets()
    })?;
    Ok(served(sockets))
}

/// A socket that may serve a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    protocol: Protocol,
    /// The address it is bound to.
    address: IpAddr,
    port: u16,
    /// Whether an IPv6 socket is restricted to IPv6 (RFC 3493 section 5.3);
    /// `None` where the source does not tell.
    v6_only: Option<bool>,
    /// To whom it is connected, if it is.
    peer: Option<(IpAddr, u16)>,
}

/// Sockets of either source as the engine wants them.
///
/// Where it is not known whether a socket on `::` serves IPv4 too, it is taken
/// to, unless another one is bound to the same port on `0.0.0.0`: the two can
/// only stand side by side when the first is restricted. So the sentry is
/// rather silent about a closed port than loud about an open one.
fn served(sockets: Vec<Socket>) -> ServedPorts {
    let (connected, sockets): (Vec<_>, Vec<_>) =
        sockets.into_iter().partition(|socket| socket.peer.is_some());
    let mut on_v4_wildcard: Vec<(Protocol, u16)> = sockets
        .iter()
        .filter(|socket| socket.address == Ipv4Addr::UNSPECIFIED)
        .map(|socket| (socket.protocol, socket.port))
        .collect();
    on_v4_wildcard.sort_unstable();
    let served = sockets.into_iter().map(|Socket { protocol, address, port, v6_only, .. }| {
        let beside_v4 = || on_v4_wildcard.binary_search(&(protocol, port)).is_ok();
        (protocol, address, port, v6_only.unwrap_or_else(beside_v4))
    });
    let connected = connected.into_iter().filter_map(|socket| {
        let Socket { address, port, peer, .. } = socket;
        Some(((address, port), peer?))
    });
    ServedPorts::new(served).with_connected(connected)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, UdpSocket};

    use portsentry_testbed::{Namespace, require_root};

    use super::*;

    #[test]
    fn both_sources_tell_the_same_sockets() {
        let Some(root) = require_root() else { return };
        let namespace = Namespace::isolated(root);
        namespace.enter(|| {
            let tcp: Vec<_> = ["0.0.0.0:1001", "127.0.0.1:1002", "[::]:1003", "[::1]:1004"]
                .map(|at| TcpListener::bind(at).unwrap())
                .into();
            let udp: Vec<_> = ["0.0.0.0:1001", "127.0.0.1:1002", "[::]:1003", "[::1]:1004"]
                .map(|at| UdpSocket::bind(at).unwrap())
                .into();
            let connected = UdpSocket::bind("127.0.0.1:1005").unwrap();
            connected.connect("127.0.0.1:1001").unwrap();
            let sorted = |sockets: io::Result<Vec<Socket>>| {
                let mut sockets = sockets.unwrap();
                sockets.iter_mut().for_each(|socket| socket.v6_only = None);
                sockets.sort_unstable();
                sockets
            };
            let found = sorted(sock_diag::sockets());
            assert_eq!(found.len(), tcp.len() + udp.len() + 1);
            let peer = ("127.0.0.1".parse().unwrap(), 1001);
            assert!(found.iter().any(|it| (it.port, it.peer) == (1005, Some(peer))));
            assert_eq!(found, sorted(proc_net::sockets()));
        });
    }

    #[test]
    fn wildcards() {
        let check = |v6_only, beside_v4: bool, serves_v4: bool| {
            let socket = |address: &str, v6_only| Socket {
                protocol: Protocol::Tcp,
                address: address.parse().unwrap(),
                port: 80,
                v6_only,
                peer: None,
            };
            let mut sockets = vec![socket("::", v6_only)];
            sockets.push(Socket { protocol: Protocol::Udp, ..socket("0.0.0.0", None) });
            if beside_v4 {
                sockets.push(socket("0.0.0.0", None));
            }
            let served = served(sockets);
            let serves = |address: &str| served.serves(Protocol::Tcp, address.parse().unwrap(), 80);
            assert_eq!(serves("192.0.2.1"), serves_v4, "{v6_only:?} {beside_v4}");
            assert!(serves("2001:db8::1"), "{v6_only:?} {beside_v4}");
        };
        check(Some(false), false, true);
        check(Some(true), false, false);
        check(None, false, true);
        check(None, true, true);
        check(Some(true), true, true);
    }
}
