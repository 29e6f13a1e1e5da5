//! Lookups of TCP connections over netlink (`sock_diag(7)`).

use std::io;
use std::net::{IpAddr, SocketAddr};

use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP, TCP_LISTEN};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};

use crate::netlink::{self, SOCK_DIAG};

/// `TCPDIAG_GETSOCK` of `linux/inet_diag.h`, a message type.
const TCPDIAG_GETSOCK: u16 = 18;

/// Size of `struct inet_diag_sockid`.
const SOCKET_ID: usize = 48;

/// `INET_DIAG_REQ_BYTECODE` and `INET_DIAG_BC_D_COND` of `linux/inet_diag.h`.
const REQUEST_BYTECODE: u16 = 1;
const PEER_CONDITION: u8 = 8;

/// All states of a connection that this host may have accepted.
const ACCEPTED: StateFlags = StateFlags::all()
    .difference(StateFlags::LISTEN.union(StateFlags::CLOSE).union(StateFlags::SYN_SENT));

/// Socket that receives a segment.
pub(super) enum Receiver {
    Listener,
    Connection,
}

/// Returns the socket that receives a segment from `peer` to `local`. The kernel
/// looks it up as for a segment that arrives at the interface with this index. An index of 0 means
/// sockets that are not bound to an interface.
pub(super) fn of_segment(
    local: SocketAddr,
    peer: SocketAddr,
    interface: u32,
) -> io::Result<Option<Receiver>> {
    let request = SockDiagMessage::InetRequest(InetRequest {
        states: StateFlags::all(),
        socket_id: SocketId {
            source_port: local.port(),
            destination_port: peer.port(),
            source_address: local.ip(),
            destination_address: peer.ip(),
            interface_id: interface,
            // Any socket (`INET_DIAG_NOCOOKIE`).
            cookie: [0xff; 8],
        },
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
    });
    // The state is the second byte of `struct inet_diag_msg`.
    match netlink::get(SOCK_DIAG, request, |_, payload| payload.get(1).copied()) {
        Ok(Some(TCP_LISTEN)) => Ok(Some(Receiver::Listener)),
        Ok(_) => Ok(Some(Receiver::Connection)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns whether `port` of this host has a connection to `peer`, to any port there and over any
/// interface. The kernel filters its table.
pub(super) fn exists(port: u16, peer: IpAddr) -> io::Result<bool> {
    // `struct inet_diag_req`, the older request: it searches the sockets of both families together.
    // A connection of IPv4 can belong to a socket of IPv6.
    let mut request = vec![0; 4];
    request.extend(port.to_be_bytes());
    // Any address, interface and socket.
    request.resize(4 + SOCKET_ID, 0);
    request.extend(ACCEPTED.bits().to_ne_bytes());
    request.extend([0; 4]);
    request.extend(with_peer(peer));
    let mut exists = false;
    netlink::dump_raw(SOCK_DIAG, TCPDIAG_GETSOCK, &request, &mut |_, socket| {
        // Family, state and two timers precede the port (`struct inet_diag_msg`).
        exists |= socket.get(4..6).is_some_and(|found| found == port.to_be_bytes());
    })?;
    Ok(exists)
}

/// Returns the attribute by which the kernel passes only the connections to `peer`: a program of
/// one instruction (`struct inet_diag_bc_op`), and its operand (`struct inet_diag_hostcond`).
fn with_peer(peer: IpAddr) -> Vec<u8> {
    let (family, address) = match peer {
        IpAddr::V4(v4) => (AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (AF_INET6, v6.octets().to_vec()),
    };
    let bits = 8 * address.len() as u8;
    let program = 12 + address.len();
    // A match goes to the end of the program, and anything else beyond.
    let mut bytes = ((4 + program) as u16).to_ne_bytes().to_vec();
    bytes.extend(REQUEST_BYTECODE.to_ne_bytes());
    bytes.extend([PEER_CONDITION, program as u8]);
    bytes.extend((program as u16 + 4).to_ne_bytes());
    bytes.extend([family, bits, 0, 0]);
    // Any port.
    bytes.extend((-1_i32).to_ne_bytes());
    bytes.extend(address);
    bytes
}
