//! The sockets bound to the monitored ports.
//!
//! One epoll set contains all of them, so the cost of waiting does not depend on the number of
//! ports. This module does not receive from the sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portsentry_core::{PortSet, Protocol};
use rustix::fs::fstat;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, listen, socket_with, sockopt};

use super::datagrams::enable_destinations;
use super::notice::{ConnectNotice, Endpoint};
use crate::SensorError;
use crate::reactor::{EventSet, Ready, Watch};

/// Maximum number of connections that wait to be accepted, for each port. The kernel lowers it
/// to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Size of the receive buffer for each UDP port, in bytes: about 2,000 small datagrams.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A bound socket and its endpoint.
#[derive(Debug)]
pub(super) struct Bound {
    socket: OwnedFd,
    pub(super) endpoint: Endpoint,
    /// Inode number of a UDP socket, which identifies it in the kernel's tables. TCP sockets do
    /// not need one, and with all ports bound a system call less for each matters.
    pub(super) inode: Option<u64>,
}

/// All bound sockets.
#[derive(Debug)]
pub(super) struct BoundSockets {
    events: EventSet,
    addresses: Vec<Address>,
    /// Default of `IPV6_V6ONLY` (`bindv6only` in ip-sysctl), so that most sockets need no
    /// system call to set it. `None` if the kernel has no IPv6.
    usual_v6_only: Option<bool>,
    /// The index is the token in the epoll set. Closed sockets leave a hole.
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
    /// Creates a set that binds to `addresses`; to all addresses of both families if empty.
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

    /// Returns the number of sockets that these ports need.
    pub(super) fn needed(&self, tcp_ports: &PortSet, udp_ports: &PortSet) -> usize {
        self.addresses.len() * (tcp_ports.len() + udp_ports.len())
    }

    /// Returns whether no socket is bound.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.len() == self.holes.len()
    }

    /// Returns a descriptor that is readable when one of the sockets is.
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
                // This is the only descriptor of the socket, so closing it removes it from epoll.
                *slot = None;
                self.holes.push(index);
            }
        }
    }

    /// Binds the ports that are not bound yet, and reports the result for each.
    ///
    /// # Errors
    ///
    /// If the system has no resources for more sockets; the sockets bound before remain.
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

    /// Returns the ports that are bound to `address`.
    fn ports(&self, address: Address, protocol: Protocol) -> PortSet {
        let same = |it: &Endpoint| address.endpoint(protocol, it.port) == *it;
        self.iter().filter(|it| same(&it.endpoint)).map(|it| it.endpoint.port).collect()
    }

    /// Returns a notice with the result. An error is one that all further ports would have too.
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

/// Returns a socket that is bound to `endpoint` and receives.
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
            // Connections of an earlier run in TIME_WAIT (RFC 9293 section 3.6) must not
            // prevent the bind. On Linux no other program can share or take over a TCP port that
            // listens, even with `SO_REUSEADDR`.
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &address)?;
            listen(&socket, BACKLOG)?;
        }
        Protocol::Udp => {
            // For UDP, `SO_REUSEADDR` would let a second program bind the port and receive
            // our datagrams.
            enable_destinations(socket.as_fd(), endpoint.address)?;
            // Without the privilege, the socket keeps the default size.
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

/// Returns `::` for both families, or `0.0.0.0` if IPv6 is off: a kernel without IPv6 has no
/// such sockets, and one with `ipv6.disable=1` has no such address.
fn wildcard() -> Address {
    let v6 = IpAddr::from(Ipv6Addr::UNSPECIFIED);
    let works = unbound(v6, SocketType::DGRAM)
        .and_then(|socket| bind(&socket, &SocketAddr::new(v6, 0)))
        .is_ok();
    let address = if works { v6 } else { Ipv4Addr::UNSPECIFIED.into() };
    Address { address, v6_only: false }
}

/// Returns each address once, IPv4-mapped addresses as IPv4.
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
    fn given_wildcards_cover_one_family() {
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
