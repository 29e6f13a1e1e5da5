//! The use of one port by one peer.

use std::io;
use std::net::SocketAddr;

use portsentry_core::Protocol;

use super::connections::{self, Receiver};
use super::{proc_net, served, sock_diag};

/// Use of a port of this host, see [`port_use`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortUse {
    /// A socket of this port is connected to an address of the peer: this host accepted the
    /// connection, or is about to.
    Connected,
    /// A socket of this port receives connections or datagrams of any peer.
    Served,
}

/// Returns how the port `local` of this host is used now, as `peer` sees it; `None` if a packet
/// from there reaches no socket.
///
/// A TCP connection to any port of the peer counts, from `SYN_RECV` to `TIME_WAIT`. First
/// the kernel looks up the very socket that receives the packet, in about 15 us. If there is none,
/// it searches all connections: 100 us to 500 us, by the size of its hash table, which depends on
/// the memory of the machine. UDP takes about 50 us. No privilege is needed. `interface` is the
/// index of the interface at which the packet arrived, or 0.
///
/// # Errors
///
/// If the kernel returns an error.
pub fn port_use(
    protocol: Protocol,
    local: SocketAddr,
    peer: SocketAddr,
    interface: u32,
) -> io::Result<Option<PortUse>> {
    let [local, peer] =
        [local, peer].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()));
    if local.is_ipv4() != peer.is_ipv4() {
        return Ok(None);
    }
    from_sock_diag(protocol, local, peer, interface).or_else(|error| {
        log::debug!("cannot look up a socket over sock_diag ({error}); reading /proc");
        let serving = proc_net::sockets()?;
        let connected =
            protocol == Protocol::Tcp && proc_net::is_connected(local.port(), peer.ip())?;
        Ok(connected
            .then_some(PortUse::Connected)
            .or_else(|| use_of(serving, protocol, local, peer)))
    })
}

fn from_sock_diag(
    protocol: Protocol,
    local: SocketAddr,
    peer: SocketAddr,
    interface: u32,
) -> io::Result<Option<PortUse>> {
    if protocol == Protocol::Tcp {
        for interface in [0, interface] {
            match connections::of_segment(local, peer, interface)? {
                Some(Receiver::Connection) => return Ok(Some(PortUse::Connected)),
                Some(Receiver::Listener) => return Ok(Some(PortUse::Served)),
                None => {}
            }
        }
        let exists = connections::exists(local.port(), peer.ip())?;
        return Ok(exists.then_some(PortUse::Connected));
    }
    let serving = sock_diag::sockets_of(protocol, local.port())?;
    Ok(use_of(serving, protocol, local, peer))
}

/// Returns how sockets that may serve a port are used.
fn use_of(
    sockets: Vec<super::Socket>,
    protocol: Protocol,
    local: SocketAddr,
    peer: SocketAddr,
) -> Option<PortUse> {
    let served = served(sockets);
    let (local, peer) = ((local.ip(), local.port()), (peer.ip(), peer.port()));
    if protocol == Protocol::Udp && served.is_connected(local, peer) {
        return Some(PortUse::Connected);
    }
    served.serves(protocol, local.0, local.1).then_some(PortUse::Served)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};

    use portsentry_testbed::{Namespace, require_root};

    use super::*;

    fn addr(ip: &str, port: u16) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), port)
    }

    #[track_caller]
    fn check(protocol: Protocol, local: SocketAddr, peer: SocketAddr, expected: Option<PortUse>) {
        assert_eq!(port_use(protocol, local, peer, 1).unwrap(), expected, "{local} {peer}");
        let from_proc = proc_net::sockets().unwrap();
        let connected = protocol == Protocol::Tcp
            && proc_net::is_connected(local.port(), peer.ip().to_canonical()).unwrap();
        let found = match connected {
            true => Some(PortUse::Connected),
            false => use_of(from_proc, protocol, local, peer),
        };
        assert_eq!(found, expected, "from /proc: {local} {peer}");
    }

    /// Connects to `at` from `from`, and closes the listener.
    fn connect(at: &str, to: SocketAddr) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(at).unwrap();
        let client = TcpStream::connect(to).unwrap();
        let (server, _) = listener.accept().unwrap();
        (client, server)
    }

    #[test]
    fn connections_outlive_their_listener() {
        let Some(root) = require_root() else { return };
        Namespace::isolated(root).enter(|| {
            let (tcp, used) = (Protocol::Tcp, Some(PortUse::Connected));
            for (at, local) in [
                ("127.0.0.1:1001", addr("127.0.0.1", 1001)),
                ("[::1]:1001", addr("::1", 1001)),
                // A socket of IPv6 that serves IPv4.
                ("[::]:1003", addr("127.0.0.1", 1003)),
            ] {
                check(tcp, local, SocketAddr::new(local.ip(), 40_000), None);
                let (client, server) = connect(at, local);
                let peer = client.local_addr().unwrap();
                check(tcp, local, peer, used);
                // Another port of the same host, as for its next connection.
                let next = SocketAddr::new(peer.ip(), 1);
                check(tcp, local, next, used);
                check(tcp, SocketAddr::new(local.ip(), 1009), peer, None);
                let other: IpAddr =
                    if local.is_ipv4() { [127, 9, 9, 9].into() } else { [9; 16].into() };
                check(tcp, local, SocketAddr::new(other, peer.port()), None);
                // The end that closes first waits.
                drop(server);
                drop(client);
                check(tcp, local, next, used);
            }
        });
    }

    #[test]
    fn a_listener_serves_its_address() {
        let Some(root) = require_root() else { return };
        Namespace::isolated(root).enter(|| {
            let (tcp, udp) = (Protocol::Tcp, Protocol::Udp);
            let served = Some(PortUse::Served);
            let _tcp = ["127.0.0.1:1001", "[::]:1002"].map(|at| TcpListener::bind(at).unwrap());
            let _udp = ["127.0.0.1:1003", "[::]:1004"].map(|at| UdpSocket::bind(at).unwrap());
            for (protocol, bound, any) in [(tcp, 1001, 1002), (udp, 1003, 1004)] {
                let peer = addr("127.0.0.2", 40_000);
                check(protocol, addr("127.0.0.1", bound), peer, served);
                check(protocol, addr("127.0.0.3", bound), peer, None);
                check(protocol, addr("127.0.0.3", any), peer, served);
                check(protocol, addr("::1", any), addr("::1", 40_000), served);
                check(protocol, addr("127.0.0.1", 1005), peer, None);
            }
            check(udp, addr("127.0.0.1", 1001), addr("127.0.0.2", 40_000), None);
            // Families that do not fit, which no packet has.
            check(tcp, addr("127.0.0.1", 1005), addr("::1", 40_000), None);
        });
    }

    #[test]
    fn a_connected_udp_socket_belongs_to_its_peer() {
        let Some(root) = require_root() else { return };
        Namespace::isolated(root).enter(|| {
            let socket = UdpSocket::bind("127.0.0.1:1001").unwrap();
            socket.connect("127.0.0.1:1002").unwrap();
            let local = addr("127.0.0.1", 1001);
            check(Protocol::Udp, local, addr("127.0.0.1", 1002), Some(PortUse::Connected));
            check(Protocol::Udp, local, addr("127.0.0.1", 1003), None);
        });
    }
}
