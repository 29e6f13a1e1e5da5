//! The sockets on monitored ports.
//!
//! One epoll set holds them all, so that any number of ports costs the same to
//! wait for. What comes in through a socket is not this module's business.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portsentry_core::{PortSet, Protocol};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::datagrams::tell_destinations;
use super::notice::{ConnectNotice, Endpoint};
use crate::SensorError;
use crate::reactor::{EventSet, Ready, Watch};

/// Handshakes that wait to be accepted, for each port. The kernel lowers it to
/// `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Bytes of datagrams that may wait, for each port; some 2,000 small ones.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A socket and what it is bound to.
#[derive(Debug)]
pub(super) struct Bound {
    socket: OwnedFd,
    pub(super) endpoint: Endpoint,
    /// What the kernel's tables call a socket of datagrams; those of streams are
    /// not looked up, and a system call less for each is felt with all ports.
    pub(super) inode: Option<u64>,
}

/// All bound sockets.
#[derive(Debug)]
pub(super) struct BoundSockets {
    events: EventSet,
    addresses: Vec<Address>,
    /// What a new IPv6 socket is set to, so that most need not be told
    /// (`bindv6only` of ip-sysctl). Nothing where there are no such sockets.
    usual_v6_only: Option<bool>,
    /// An index is what epoll gives back. Closed sockets leave a hole.
    slots: Vec<Option<Bound>>,
    holes: Vec<usize>,
}

/// An address to bind to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Address {
    address: IpAddr,
    v6_only: bool,
}

impl Bound {
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl BoundSockets {
    /// Will bind to `addresses`; to all of both families if there are none.
    pub(super) fn new(addresses: &[IpAddr]) -> Result<Self, SensorError> {
        let events = EventSet::new().map_err(refused)?;
        let addresses = match addresses {
            [] => vec![wildcard()],
            given => distinct(given),
        };
        let usual_v6_only = unbound(Ipv6Addr::UNSPECIFIED.into(), SocketType::DGRAM)
            .and_then(sockopt::ipv6_v6only)
            .ok();
        Ok(Self { events, addresses, usual_v6_only, slots: Vec::new(), holes: Vec::new() })
    }

    /// How many sockets these ports take.
    pub(super) fn needed(&self, tcp_ports: &PortSet, udp_ports: &PortSet) -> usize {
        self.addresses.len() * (tcp_ports.len() + udp_ports.len())
    }

    /// Whether no socket is bound.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.holes.len()
    }

    /// Readable when one of the sockets is.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Returns the indices of sockets that are readable now.
    pub(super) fn ready<const N: usize>(&self) -> Result<Ready<N>, Errno> {
        self.events.ready()
    }

    pub(super) fn get(&self, index: u64) -> Option<&Bound> {
        self.slots.get(usize::try_from(index).ok()?)?.as_ref()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Bound> {
        self.slots.iter().flatten()
    }

    /// Closes the sockets of ports that are in neither set.
    pub(super) fn close_others(&mut self, tcp_ports: &PortSet, udp_ports: &PortSet) {
        for (index, slot) in self.slots.iter_mut().enumerate() {
            let wanted = |endpoint: &Endpoint| match endpoint.protocol {
                Protocol::Tcp => tcp_ports.contains(endpoint.port),
                Protocol::Udp => udp_ports.contains(endpoint.port),
            };
            if slot.as_ref().is_some_and(|bound| !wanted(&bound.endpoint)) {
                // The only descriptor of the socket, so epoll forgets it too.
                *slot = None;
                self.holes.push(index);
            }
        }
    }

    /// Binds the ports that are not bound yet, and tells of each what became of
    /// it.
    ///
    /// # Errors
    ///
    /// When the system has no room for more sockets; those before are bound.
    pub(super) fn bind_missing(
        &mut self,
        tcp_ports: &PortSet,
        udp_ports: &PortSet,
        notify: &mut dyn FnMut(&ConnectNotice),
    ) -> Result<(), SensorError> {
        for address in self.addresses.clone() {
            for (protocol, ports) in [(Protocol::Tcp, tcp_ports), (Protocol::Udp, udp_ports)] {
                let bound = self.ports(address, protocol);
                let missing = ports.iter().filter(|port| !bound.contains(*port));
                for port in missing {
                    match self.bind(address.endpoint(protocol, port)) {
                        Ok(notice) => notify(&notice),
                        Err(Errno::ADDRNOTAVAIL | Errno::AFNOSUPPORT) => {
                            notify(&ConnectNotice::NoSuchAddress { address: address.address });
                            break;
                        }
                        Err(error) => return Err(refused(error)),
                    }
                }
            }
        }
        Ok(())
    }

    /// The ports that are bound to `address`.
    fn ports(&self, address: Address, protocol: Protocol) -> PortSet {
        let same = |it: &Endpoint| address.endpoint(protocol, it.port) == *it;
        self.iter().filter(|it| same(&it.endpoint)).map(|it| it.endpoint.port).collect()
    }

    /// An error is one that other ports would meet as well.
    fn bind(&mut self, endpoint: Endpoint) -> Result<ConnectNotice, Errno> {
        let socket = match open(&endpoint, self.usual_v6_only) {
            Ok(socket) => socket,
            Err(error @ (Errno::ADDRINUSE | Errno::ACCESS | Errno::PERM | Errno::INVAL)) => {
                return Ok(ConnectNotice::NotBound { endpoint, errno: error.raw_os_error() });
            }
            Err(error) => return Err(error),
        };
        let inode = match endpoint.protocol {
            Protocol::Tcp => None,
            Protocol::Udp => Some(fstat(&socket)?.st_ino),
        };
        let index = self.holes.pop().unwrap_or(self.slots.len());
        self.events.add(&socket, index as u64, Watch::In)?;
        let bound = Some(Bound { socket, endpoint, inode });
        match self.slots.get_mut(index) {
            Some(hole) => *hole = bound,
            None => self.slots.push(bound),
        }
        Ok(ConnectNotice::Bound(endpoint))
    }
}

impl Address {
    fn endpoint(self, protocol: Protocol, port: u16) -> Endpoint {
        Endpoint { address: self.address, v6_only: self.v6_only, protocol, port }
    }
}

/// A socket that is ready for whatever comes to `endpoint`.
fn open(endpoint: &Endpoint, usual_v6_only: Option<bool>) -> Result<OwnedFd, Errno> {
    let kind = match endpoint.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = unbound(endpoint.address, kind)?;
    if endpoint.address.is_ipv6() && usual_v6_only != Some(endpoint.v6_only) {
        sockopt::set_ipv6_v6only(&socket, endpoint.v6_only)?;
    }
    let address = SocketAddr::new(endpoint.address, endpoint.port);
    match endpoint.protocol {
        Protocol::Tcp => {
            // Connections of an earlier run that the kernel is still winding up
            // (TIME_WAIT, RFC 9293 section 3.6) must not keep the port from us.
            // On Linux nobody can share or take over a TCP port that listens,
            // whatever options he sets.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address)?;
            listen(&socket, BACKLOG)?;
        }
        Protocol::Udp => {
            // Not so here: with that option a second program could bind the port
            // and get our datagrams. Without it, nobody can.
            tell_destinations(socket.as_fd(), endpoint.address)?;
            // Without the privilege, the system's usual size has to do.
            let _ = sockopt::set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER);
            bind(&socket, &address)?;
        }
    }
    Ok(socket)
}

fn unbound(address: IpAddr, kind: SocketType) -> Result<OwnedFd, Errno> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None)
}

/// `::` for both families, or `0.0.0.0` where IPv6 is off: a kernel without
/// IPv6 has no such sockets, one with `ipv6.disable=1` no such address.
fn wildcard() -> Address {
    let v6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let works = unbound(v6, SocketType::DGRAM)
        .and_then(|socket| bind(&socket, &SocketAddr::new(v6, 0)))
        .is_ok();
    let address = if works { v6 } else { Ipv4Addr::UNSPECIFIED.into() };
    Address { address, v6_only: false }
}

/// Each address once, an IPv4-mapped one as the IPv4 address it is.
fn distinct(given: &[IpAddr]) -> Vec<Address> {
    let mut addresses: Vec<Address> = Vec::new();
    for address in given.iter().map(IpAddr::to_canonical) {
        let address = Address { address, v6_only: address.is_ipv6() };
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn refused(error: impl Into<io::Error>) -> SensorError {
    SensorError::Io { name: super::NAME.to_owned(), source: error.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_addresses_stand_for_themselves() {
        let given = ["0.0.0.0", "::", "::ffff:192.0.2.1", "192.0.2.1", "2001:db8::1", "::"];
        let found: Vec<(String, bool)> = distinct(&given.map(|it| it.parse().unwrap()))
            .into_iter()
            .map(|it| (it.address.to_string(), it.v6_only))
            .collect();
        let expected =
            [("0.0.0.0", false), ("::", true), ("192.0.2.1", false), ("2001:db8::1", true)];
        assert_eq!(found, expected.map(|(address, v6_only)| (address.to_owned(), v6_only)));
    }
}
