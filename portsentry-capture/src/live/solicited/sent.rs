//! Captures the datagrams that leave this host from monitored ports, and those that arrive in its
//! name.
//!
//! The packet socket has no ring: a packet in a ring becomes visible only when its block is
//! complete, and the reply may have arrived by then. The kernel queues the copy before it
//! sends the datagram.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use etherparse::{IpNumber, Ipv4HeaderSlice, Ipv6HeaderSlice};
use nix::sys::socket::{
    ControlMessageOwned, LinkAddr, MsgFlags, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use nix::sys::time::TimeSpec;
use portsentry_core::{NetworkSet, PortSet, Timestamp};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use crate::live::bpf::{PACKET_OUTGOING, SENT_LENGTH, attach_sent_filter};
use crate::live::packet_socket;

/// Size of the socket buffer, in bytes. The kernel doubles it and charges at least 768 bytes
/// for each datagram (`socket(7)`, `SO_RCVBUF`).
const BUFFER: usize = 2 << 20;

/// Maximum number of datagrams read in one call: more than the buffer can hold.
const WAITING: usize = 2 * BUFFER / 512;

/// A datagram that left this host, or arrived at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) content: Content,
    pub(super) time: Timestamp,
    /// Whether it arrived from the wire.
    pub(super) is_incoming: bool,
}

/// The length in the UDP header, and the first bytes after it. The checksum is no part of it,
/// because hardware may complete it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Content {
    length: [u8; 2],
    start: [u8; 16],
}

#[cfg(test)]
impl Content {
    /// Returns a content that only this number has.
    pub(super) fn of(number: u8) -> Self {
        Self { start: [number; 16], ..Self::default() }
    }
}

/// Socket that captures sent datagrams on all interfaces.
#[derive(Debug)]
pub(super) struct SentDatagrams {
    socket: OwnedFd,
    ancillary: Vec<u8>,
}

impl SentDatagrams {
    /// Opens a socket for datagrams from `ports` at `addresses`.
    pub(super) fn open(addresses: &NetworkSet, ports: &PortSet) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Without a protocol it receives nothing until it is bound, when the
        // filter is there.
        let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
        // Exceeding `net.core.rmem_max` needs a privilege.
        if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
            sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
        }
        // The option takes effect a little later. Until then datagrams are stamped when they are
        // read, which is too late. So captures are opened after this.
        setsockopt(&socket, ReceiveTimestampns, &true)?;
        attach_sent_filter(socket.as_fd(), addresses, ports)?;
        packet_socket::bind(socket.as_fd(), 0)?;
        Ok(Self { socket, ancillary: nix::cmsg_space!(TimeSpec) })
    }

    /// Changes the ports and addresses.
    pub(super) fn set(&self, addresses: &NetworkSet, ports: &PortSet) -> io::Result<()> {
        attach_sent_filter(self.socket.as_fd(), addresses, ports)
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Returns the number of datagrams dropped since the last call.
    pub(super) fn missed(&self) -> u64 {
        // After an error, the next call returns them.
        packet_socket::take_drops(self.socket.as_fd()).map_or(0, u64::from)
    }

    /// Passes all datagrams up to the call to `sink`, in order. One system call each, without
    /// allocating: a host sends few queries.
    pub(super) fn read(&mut self, sink: &mut dyn FnMut(Datagram)) -> io::Result<()> {
        for _ in 0..WAITING {
            let mut headers = [0; SENT_LENGTH as usize];
            match self.receive(&mut headers) {
                Ok(Received { bytes, time, is_incoming }) => {
                    let parsed = headers.get(..bytes).and_then(parse);
                    if let (Some((from, to, content)), Some(time)) = (parsed, time) {
                        sink(Datagram { from, to, content, time, is_incoming });
                    }
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn receive(&mut self, headers: &mut [u8]) -> nix::Result<Received> {
        let mut into = [IoSliceMut::new(headers)];
        let ancillary = Some(self.ancillary.as_mut_slice());
        let descriptor = self.socket.as_raw_fd();
        let message =
            recvmsg::<LinkAddr>(descriptor, &mut into, ancillary, MsgFlags::MSG_DONTWAIT)?;
        let time = message.cmsgs()?.find_map(|ancillary| match ancillary {
            ControlMessageOwned::ScmTimestampns(time) => Some(timestamp(time)),
            _ => None,
        });
        let packet_type = message.address.map(|address| address.pkttype());
        let is_incoming = packet_type.is_some_and(|it| u32::from(it) != PACKET_OUTGOING);
        Ok(Received { bytes: message.bytes, time, is_incoming })
    }
}

/// A packet that was read from the socket.
struct Received {
    bytes: usize,
    time: Option<Timestamp>,
    is_incoming: bool,
}

fn timestamp(time: TimeSpec) -> Timestamp {
    let since_epoch = Duration::from(time).as_nanos();
    Timestamp::from_nanos(i64::try_from(since_epoch).unwrap_or(i64::MAX))
}

/// Returns source, destination and content of the UDP datagram, or first fragment of one, that
/// starts with these headers. `None` for anything else.
fn parse(packet: &[u8]) -> Option<(SocketAddr, SocketAddr, Content)> {
    let (source, target, udp): (IpAddr, IpAddr, _) = match packet.first()? >> 4 {
        4 => {
            let ip = Ipv4HeaderSlice::from_slice(packet).ok()?;
            let is_first = ip.fragments_offset().value() == 0;
            let udp = packet.get(ip.slice().len()..)?;
            let whole = (ip.protocol() == IpNumber::UDP && is_first).then_some(udp)?;
            (Ipv4Addr::from(ip.source()).into(), Ipv4Addr::from(ip.destination()).into(), whole)
        }
        6 => {
            let ip = Ipv6HeaderSlice::from_slice(packet).ok()?;
            let payload = packet.get(40..)?;
            let udp = match (ip.next_header(), payload) {
                (IpNumber::UDP, udp) => udp,
                // Next header, reserved, and 13 bits of offset (RFC 8200 section 4.5).
                (IpNumber::IPV6_FRAGMENTATION_HEADER, [17, _, 0, 0..=7, _, _, _, _, udp @ ..]) => {
                    udp
                }
                _ => return None,
            };
            (Ipv6Addr::from(ip.source()).into(), Ipv6Addr::from(ip.destination()).into(), udp)
        }
        _ => return None,
    };
    let (&[a, b, c, d, e, f, _, _], rest) = udp.split_first_chunk()?;
    let port = |high, low| u16::from_be_bytes([high, low]);
    let mut content = Content { length: [e, f], start: [0; 16] };
    for (to, from) in content.start.iter_mut().zip(rest) {
        *to = *from;
    }
    Some((SocketAddr::new(source, port(a, b)), SocketAddr::new(target, port(c, d)), content))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: &str = "4500002000010000401100000a0000010a000035";
    const V6: &str =
        "6000000000081140fd000000000000000000000000000001fd000000000000000000000000000035";
    const UDP: &str = "9c40003500080000";

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[test]
    fn headers_of_udp_datagrams_are_parsed() {
        let check = |name: &str, hex: &str, expected: Option<(&str, &str)>| {
            let expected = expected.map(|(from, to)| (from.parse().unwrap(), to.parse().unwrap()));
            let found = parse(&bytes(hex)).map(|(from, to, _)| (from, to));
            assert_eq!(found, expected, "{name}");
        };
        let v4 = Some(("10.0.0.1:40000", "10.0.0.53:53"));
        let v6 = Some(("[fd00::1]:40000", "[fd00::35]:53"));
        check("IPv4", &(V4.to_owned() + UDP), v4);
        let options = V4.replacen("45", "46", 1) + "01010101";
        check("options", &(options + UDP), v4);
        check("first fragment", &(V4.replacen("00010000", "00012000", 1) + UDP), v4);
        check("later fragment", &(V4.replacen("00010000", "00010001", 1) + UDP), None);
        check("TCP", &(V4.replacen("4011", "4006", 1) + UDP), None);
        check("cut", &(V4.to_owned() + "9c4000"), None);
        check("IPv6", &(V6.to_owned() + UDP), v6);
        let fragmented = V6.replacen("0811", "082c", 1);
        check("first fragment", &(fragmented.clone() + "1100000100000007" + UDP), v6);
        check("later fragment", &(fragmented.clone() + "1100000900000007" + UDP), None);
        check("far fragment", &(fragmented.clone() + "1100010100000007" + UDP), None);
        check("fragment of TCP", &(fragmented + "0600000100000007" + UDP), None);
        check("ICMPv6", &(V6.replacen("0811", "083a", 1) + UDP), None);
        check("neither", "7500", None);
        check("nothing", "", None);
    }
}
