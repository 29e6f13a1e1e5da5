//! The ports that local programs serve, from the kernel's socket tables.
//!
//! The tables are read over sock_diag (`sock_diag(7)`), or from `/proc` if the kernel does not
//! support that. No socket is bound or connected for this, because peers could notice that. A
//! snapshot becomes outdated, so callers take a new one from time to time.

mod budget;
mod connections;
mod lookup;
mod port_use;
mod proc_net;
mod sock_diag;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use portsentry_core::{Protocol, ServedPorts};

pub use self::lookup::{LookupStats, SocketLookup};
pub use self::port_use::{PortUse, port_use};

/// Returns a snapshot of the served ports in the network namespace of the calling thread.
///
/// A TCP socket that listens, and a UDP socket that is bound, serve a port. A connected UDP
/// socket receives datagrams of its peer only (`udp(7)`); for all other hosts the port is
/// closed. An IPv6 socket on the wildcard also serves IPv4, unless it is restricted to IPv6.
/// About a millisecond over sock_diag on a host with 1,000 serving sockets.
///
/// # Errors
///
/// If neither source can be read; neither needs a privilege.
pub fn served_ports() -> io::Result<ServedPorts> {
    let sockets = sock_diag::sockets().or_else(|error| {
        log::debug!("cannot read the socket tables over sock_diag ({error}); reading /proc");
        proc_net::sockets()
    })?;
    Ok(served(sockets))
}

/// A socket that may serve a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Socket {
    protocol: Protocol,
    /// Address that the socket is bound to.
    address: IpAddr,
    port: u16,
    /// Whether an IPv6 socket is restricted to IPv6 (RFC 3493 section 5.3); `None` if the source
    /// does not contain it.
    v6_only: Option<bool>,
    /// Address and port of the peer, if the socket is connected.
    peer: Option<(IpAddr, u16)>,
}

/// Converts sockets of either source for the engine.
///
/// `/proc` does not contain whether a socket on `::` also serves IPv4. It is assumed to, unless
/// the port is also bound on `0.0.0.0`: both sockets can exist only if the first is restricted to
/// IPv6. A wrong assumption hides a probe, which is better than reporting a connection to a
/// served port.
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
        let with_v4 = || on_v4_wildcard.binary_search(&(protocol, port)).is_ok();
        (protocol, address, port, v6_only.unwrap_or_else(with_v4))
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
    fn both_sources_return_the_same_sockets() {
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
    fn an_ipv6_wildcard_serves_ipv4_unless_restricted() {
        let check = |v6_only, with_v4: bool, serves_v4: bool| {
            let socket = |address: &str, v6_only| Socket {
                protocol: Protocol::Tcp,
                address: address.parse().unwrap(),
                port: 80,
                v6_only,
                peer: None,
            };
            let mut sockets = vec![socket("::", v6_only)];
            sockets.push(Socket { protocol: Protocol::Udp, ..socket("0.0.0.0", None) });
            if with_v4 {
                sockets.push(socket("0.0.0.0", None));
            }
            let served = served(sockets);
            let serves = |address: &str| served.serves(Protocol::Tcp, address.parse().unwrap(), 80);
            assert_eq!(serves("192.0.2.1"), serves_v4, "{v6_only:?} {with_v4}");
            assert!(serves("2001:db8::1"), "{v6_only:?} {with_v4}");
        };
        check(Some(false), false, true);
        check(Some(true), false, false);
        check(None, false, true);
        check(None, true, true);
        check(Some(true), true, true);
    }
}
