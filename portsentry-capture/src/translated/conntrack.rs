//! Looks up one connection in the kernel's table of connections
//! (`linux/netfilter/nfnetlink_conntrack.h`).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use portsentry_core::Protocol;
use rustix::io::Errno;

use super::attributes::{HEADER, IPV4, IPV6, attribute, attributes, encode, number};
use super::read::{Request, header};
use crate::netlink::{self, NETFILTER};

/// Subsystem and message `IPCTNL_MSG_CT_GET`.
const GET: u16 = (1 << 8) | 1;

/// Attributes of a connection.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const STATUS: u16 = 3;
/// Attributes of a tuple.
const ADDRESSES: u16 = 1;
const PROTOCOL: u16 = 2;

/// The entry of a connection in the kernel's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackedConnection {
    /// Whether a rule translates the destination of its packets, or of the replies to a connection
    /// whose source it translates.
    pub translated: bool,
    /// Whether this host is one end of it: it opened the connection, or accepted it by a complete
    /// handshake of TCP. The kernel keeps the entry for up to two minutes after the end of the
    /// connection, when no socket is left.
    pub connected: bool,
}

/// Returns the entry of the connection to which packets from `source` to `target` belong, in
/// either direction. `target` is an address of this host. All fields are `false` for packets of
/// no connection, and if the kernel tracks no connections. A few system calls.
///
/// # Errors
///
/// If the kernel does not permit the question: `CAP_NET_ADMIN` is needed.
pub fn tracked_connection(
    protocol: Protocol,
    source: SocketAddr,
    target: SocketAddr,
) -> io::Result<TrackedConnection> {
    let untracked = Ok(TrackedConnection::default());
    if !tracks_connections() {
        return untracked;
    }
    let Some((family, tuple)) = tuple(protocol, source, target) else { return untracked };
    let request = Request { kind: GET, body: [header(family).to_vec(), tuple].concat() };
    let entry = |_, payload: &[u8]| {
        let [original, reply] = [ORIGINAL, REPLY].map(|direction| sender(payload, direction));
        let target = Some((target.ip().to_canonical(), target.port()));
        // The packets may be the replies.
        let opened = original == target;
        TrackedConnection {
            translated: !opened && reply.is_some() && reply != target,
            connected: opened || protocol == Protocol::Tcp && is_assured(payload),
        }
    };
    match netlink::get(NETFILTER, request, entry) {
        Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) => untracked,
        result => result,
    }
}

/// Returns whether the kernel may track connections. A question to a kernel that does not would
/// load the module.
fn tracks_connections() -> bool {
    let settings = Path::new("/proc/sys/net");
    settings.join("netfilter/nf_conntrack_count").exists() || !settings.exists()
}

/// `IPS_ASSURED` of `linux/netfilter/nf_conntrack_common.h`. For TCP, the kernel sets it when the
/// acknowledgement of the SYN-ACK arrives (`nf_conntrack_tcp_packet`).
const ASSURED: u32 = 1 << 2;

fn is_assured(payload: &[u8]) -> bool {
    let status = payload.get(HEADER..).and_then(|attributes| number(attributes, STATUS));
    status.is_some_and(|status| status & ASSURED != 0)
}

/// Returns the tuple of packets in the original direction.
fn tuple(protocol: Protocol, source: SocketAddr, target: SocketAddr) -> Option<(u8, Vec<u8>)> {
    let (family, addresses) = match (source.ip().to_canonical(), target.ip().to_canonical()) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            (IPV4, [encode(1, &source.octets()), encode(2, &target.octets())])
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            (IPV6, [encode(3, &source.octets()), encode(4, &target.octets())])
        }
        _ => return None,
    };
    let protocol = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
    };
    let protocol = [
        encode(1, &[protocol]),
        encode(2, &source.port().to_be_bytes()),
        encode(3, &target.port().to_be_bytes()),
    ];
    let nested = |kind: u16, content: &[u8]| encode(kind | NESTED, content);
    let tuple =
        [nested(ADDRESSES, &addresses.concat()), nested(PROTOCOL, &protocol.concat())].concat();
    Some((family, nested(ORIGINAL, &tuple)))
}

/// `NLA_F_NESTED`
const NESTED: u16 = 0x8000;

/// Returns the source address and port of the packets in this direction.
fn sender(payload: &[u8], direction: u16) -> Option<(IpAddr, u16)> {
    let tuple = attribute(payload.get(HEADER..)?, direction)?;
    let addresses = attribute(tuple, ADDRESSES)?;
    let address = attributes(addresses).find_map(|(kind, value)| match kind {
        1 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        3 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
        _ => None,
    })?;
    let port: [u8; 2] = attribute(attribute(tuple, PROTOCOL)?, 2)?.try_into().ok()?;
    Some((address, u16::from_be_bytes(port)))
}
