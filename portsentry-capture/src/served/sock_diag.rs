//! Reads sockets over netlink (`sock_diag(7)`).

use std::io;

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DIAG_BY_FAMILY, TCP_ESTABLISHED,
};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};
use portsentry_core::Protocol;

use super::Socket;
use crate::netlink::{self, SOCK_DIAG};

/// Returns the sockets that may serve a port.
pub(super) fn sockets() -> io::Result<Vec<Socket>> {
    let mut sockets = sockets_of(Protocol::Tcp, 0)?;
    sockets.extend(sockets_of(Protocol::Udp, 0)?);
    Ok(sockets)
}

/// Returns the sockets that may serve `port`, or any port if it is 0. The kernel filters by port
/// and state, so open connections cost nothing. A connected UDP socket has the state "established"
/// of TCP; any other UDP socket has the state "closed".
pub(super) fn sockets_of(protocol: Protocol, port: u16) -> io::Result<Vec<Socket>> {
    let (number, states) = match protocol {
        Protocol::Tcp => (IPPROTO_TCP, StateFlags::LISTEN),
        Protocol::Udp => (IPPROTO_UDP, StateFlags::CLOSE | StateFlags::ESTABLISHED),
    };
    let mut sockets = Vec::new();
    for (family, id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let request = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: number,
            extensions: ExtensionFlags::empty(),
            states: states.clone(),
            socket_id: SocketId { source_port: port, ..id },
        });
        sockets.extend(netlink::dump(
            SOCK_DIAG,
            request,
            |found: &mut Vec<Socket>, kind, payload| {
                if kind == SOCK_DIAG_BY_FAMILY {
                    found.extend(socket(protocol, payload)?);
                }
                Ok(())
            },
        )?);
    }
    Ok(sockets)
}

fn socket(protocol: Protocol, payload: &[u8]) -> Result<Option<Socket>, DecodeError> {
    let response = InetResponse::parse(payload)?;
    let id = response.header.socket_id;
    if id.source_port == 0 {
        return Ok(None);
    }
    let v6_only = response.nlas.iter().find_map(|attribute| match attribute {
        Nla::SkV6Only(v6_only) => Some(*v6_only),
        _ => None,
    });
    let is_connected = protocol == Protocol::Udp && response.header.state == TCP_ESTABLISHED;
    let peer = is_connected.then_some((id.destination_address, id.destination_port));
    Ok(Some(Socket { protocol, address: id.source_address, port: id.source_port, v6_only, peer }))
}
