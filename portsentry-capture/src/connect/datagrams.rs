//! Receiving datagrams together with the address they were sent to, and
//! answering from that address.
//!
//! A socket on the wildcard address would answer from whatever address the
//! route suggests, and a client drops an answer that comes from elsewhere.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage,
    recvmsg, sendmsg, setsockopt, sockopt,
};
use rustix::io::Errno;

/// One datagram. What was in it does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    /// As the kernel has it: IPv4-mapped on an IPv6 socket.
    pub(super) sender: SocketAddr,
    /// The address it was sent to, IPv4 as such. `None` if the kernel did not
    /// tell.
    pub(super) destination: Option<IpAddr>,
    /// Whether that is one address of this host, and not a group or a broadcast.
    pub(super) unicast: bool,
    /// The index of the interface it came in by; 0 if the kernel did not tell.
    pub(super) interface: u32,
}

/// Has the kernel tell with each datagram where it was sent to. To be called
/// before `socket`, which is for `address`, is bound.
pub(super) fn tell_destinations(socket: BorrowedFd<'_>, address: IpAddr) -> Result<(), Errno> {
    // For datagrams of IPv4 on a socket of both families too: only this tells
    // broadcasts from others.
    setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).map_err(errno)?;
    if address.is_ipv6() {
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true).map_err(errno)?;
    }
    Ok(())
}

/// Reads datagrams; one for all sockets.
#[derive(Debug)]
pub(super) struct Receiver {
    ancillary: Vec<u8>,
}

impl Receiver {
    pub(super) fn new() -> Self {
        Self { ancillary: nix::cmsg_space!(in_pktinfo, in6_pktinfo) }
    }

    /// The next datagram, `None` if there is none. Never blocks, and allocates
    /// nothing.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>) -> Result<Option<Datagram>, Errno> {
        // Nobody reads what is in it; the kernel throws the rest away.
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
                    // `ipi_spec_dst` is the address of this host that an answer
                    // would come from (ip(7)).
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

/// Sends `text` back to where `datagram` came from, from the address it was
/// sent to. Never blocks.
pub(super) fn answer(
    socket: BorrowedFd<'_>,
    datagram: &Datagram,
    text: &[u8],
) -> Result<(), Errno> {
    let send = |from: &[ControlMessage<'_>], to: SockaddrStorage| {
        let (text, flags) = ([IoSlice::new(text)], MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL);
        sendmsg(socket.as_raw_fd(), &text, from, flags, Some(&to)).map(drop).map_err(errno)
    };
    // The interface is left to the routes, as for every other answer; to a
    // link-local address the sender's scope says it.
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

    /// A datagram to `to`, received by a socket bound to `bound`, and answered.
    #[track_caller]
    fn check(bound: &str, from: &str, to: &str) {
        let socket = UdpSocket::bind((bound.parse::<IpAddr>().unwrap(), 0)).unwrap();
        tell_destinations(socket.as_fd(), bound.parse().unwrap()).unwrap();
        let to: IpAddr = to.parse().unwrap();
        let there = SocketAddr::new(to, socket.local_addr().unwrap().port());
        let client = UdpSocket::bind((from.parse::<IpAddr>().unwrap(), 0)).unwrap();
        // Connected, so that it takes an answer from that address alone.
        client.connect(there).unwrap();
        client.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        client.send(b"more than a byte").unwrap();

        let mut receiver = Receiver::new();
        let found = receiver.receive(socket.as_fd()).unwrap().expect("loopback delivers at once");
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
    fn answers_come_from_the_address_that_was_asked() {
        check("0.0.0.0", "127.0.0.1", "127.0.0.1");
        check("0.0.0.0", "127.0.0.1", "127.99.1.2");
        check("127.0.0.3", "127.0.0.1", "127.0.0.3");
        if UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            check("::", "::1", "::1");
            check("::", "127.0.0.1", "127.99.1.2");
        }
    }
}
