//! Receives datagrams together with their destination address, and replies from that address.
//!
//! A socket on the wildcard address would reply from the address that the route suggests, and a
//! client drops a reply from another address than the one it sent to.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvmsg, sendmsg, setsockopt, sockopt,
};
use rustix::io::Errno;

/// One received datagram, without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    /// Source address; IPv4-mapped on an IPv6 socket.
    pub(super) sender: SocketAddr,
    /// Destination address, never IPv4-mapped. `None` if the kernel did not report it.
    pub(super) destination: Option<IpAddr>,
    /// Whether the destination is an address of this host, not a group or a broadcast address.
    pub(super) unicast: bool,
    /// Index of the receiving interface; 0 if the kernel did not report it.
    pub(super) interface: u32,
}

/// Lets the kernel report the destination of each datagram. Call it before `socket` is bound
/// to `address`.
pub(super) fn enable_destinations(socket: BorrowedFd<'_>, address: IpAddr) -> Result<(), Errno> {
    // Also for IPv4 datagrams on a socket of both families: only this option distinguishes
    // broadcasts.
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).map_err(errno)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).map_err(errno)?;
    }
    Ok(())
}

/// Receives datagrams, for all sockets.
#[derive(Debug)]
pub(super) struct Receiver {
    ancillary: Vec<u8>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { ancillary: nix::cmsg_space!(in_pktinfo, in6_pktinfo) }
    }

    /// Receives the next datagram; returns `None` if none waits. Never blocks or allocates.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<Option<Datagram>, Errno> {
        // The payload is not used; the kernel discards the rest.
        let mut byte = [0];
        let mut into = [IoSliceMut::new(&mut byte)];
        let flags = MsgFlags::MSG_DONTWAIT;
        let message = loop {
            let ancillary = Some(self.ancillary.as_mut_slice());
            match recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut into, ancillary, flags) {
                Ok(message) => break message,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(None),
                Err(error) => return Err(errno(error)),
            }
        };
        let Some(sender) = message.address.as_ref().and_then(socket_address) else {
            return Err(Errno::AFNOSUPPORT);
        };
        let mut datagram = Datagram { sender, destination: None, unicast: true, interface: 0 };
        for ancillary in message.cmsgs().map_err(errno)? {
            match ancillary {
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    // `ipi_spec_dst` is the address of this host from which a reply
                    // would be sent (ip(7)).
                    datagram.destination = Some(v4_address(info.ipi_addr));
                    datagram.unicast = info.ipi_addr.s_addr == info.ipi_spec_dst.s_addr;
                    datagram.interface = info.ipi_ifindex.cast_unsigned();
                }
                ControlMessageOwned::Ipv6PacketInfo(info) if datagram.destination.is_none() => {
                    let address = IpAddr::from(info.ipi6_addr.s6_addr).to_canonical();
                    datagram.destination = Some(address);
                    datagram.unicast = !address.is_multicast();
                    datagram.interface = info.ipi6_ifindex;
                }
                _ => {}
            }
        }
        Ok(Some(datagram))
    }
}

/// Sends `text` to the source of `datagram`, from its destination address. Never blocks.
pub(super) fn answer(
    socket: BorrowedFd<'_>,
    datagram: &Datagram,
    text: &[u8],
) -> Result<(), Errno> {
    let send = |from: &[ControlMessage<'_>], to: SockaddrStorage| {
        let (text, flags) = ([IoSlice::new(text)], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        sendmsg(socket.as_raw_fd(), &text, from, flags, Some(&to)).map(drop).map_err(errno)
    };
    // The routes choose the interface, as for every other packet; a link-local address
    // contains it as its scope.
    match (datagram.sender, datagram.destination) {
        (sender, None) => send(&[], sender.into()),
        (SocketAddr::V4(sender), Some(IpAddr::V4(from))) => {
            let address = in_addr { s_addr: u32::from_ne_bytes(from.octets()) };
            let info = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: address };
            send(&[ControlMessage::Ipv4PacketInfo(&info)], SocketAddr::V4(sender).into())
        }
        (sender, Some(from)) => {
            let octets = match from {
                IpAddr::V4(from) => from.to_ipv6_mapped().octets(),
                IpAddr::V6(from) => from.octets(),
            };
            let info = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: octets }, ipi6_ifindex: 0 };
            send(&[ControlMessage::Ipv6PacketInfo(&info)], sender.into())
        }
    }
}

fn v4_address(address: in_addr) -> IpAddr {
    IpAddr::from(address.s_addr.to_ne_bytes())
}

fn socket_address(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|it: &SockaddrIn| SocketAddrV4::from(*it).into());
    v4.or_else(|| address.as_sockaddr_in6().map(|it: &SockaddrIn6| SocketAddrV6::from(*it).into()))
}

fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv6Addr, UdpSocket};
    use std::os::fd::AsFd;

    use super::*;

    /// Sends a datagram to `to`, receives it from a socket bound to `bound`, and replies.
    #[track_caller]
    fn check(bound: &str, from: &str, to: &str) {
        let socket = UdpSocket::bind((bound.parse::<IpAddr>().unwrap(), 0)).unwrap();
        enable_destinations(socket.as_fd(), bound.parse().unwrap()).unwrap();
        let to: IpAddr = to.parse().unwrap();
        let there = SocketAddr::new(to, socket.local_addr().unwrap().port());
        let client = UdpSocket::bind((from.parse::<IpAddr>().unwrap(), 0)).unwrap();
        // A connected socket accepts a reply only from that address.
        client.connect(there).unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        client.send(b"more than a byte").unwrap();

        let mut receiver = Receiver::new();
        let found =
            receiver.receive(socket.as_fd()).unwrap().expect("loopback delivers immediately");
        let sender = client.local_addr().unwrap();
        assert_eq!(found.sender.ip().to_canonical(), sender.ip());
        assert_eq!(found.sender.port(), sender.port());
        assert_eq!(found.destination, Some(to));
        assert!(found.unicast && found.interface != 0);
        assert_eq!(receiver.receive(socket.as_fd()), Ok(None));

        answer(socket.as_fd(), &found, b"hello").unwrap();
        let mut buffer = [0; 16];
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"hello");
    }

    #[test]
    fn a_reply_comes_from_the_queried_address() {
        check("0.0.0.0", "127.0.0.1", "127.0.0.1");
        check("0.0.0.0", "127.0.0.1", "127.99.1.2");
        check("127.0.0.3", "127.0.0.1", "127.0.0.3");
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            check("::", "::1", "::1");
            check("::", "127.0.0.1", "127.99.1.2");
        }
    }
}
