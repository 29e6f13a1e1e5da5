//! Packets that the kernel dropped before the bound sockets.
//!
//! The functions read whole tables, so they are called rarely and never per packet.

use std::fs;
use std::io;

use netlink_packet_core::Parseable;
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_UDP, SOCK_DIAG_BY_FAMILY};
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags,
};

use crate::netlink::{self, SOCK_DIAG};

/// Returns the number of datagrams dropped because the buffer of one of these sockets was full
/// or their checksum was wrong. `inodes` is sorted. Reads the kernel's table of UDP sockets.
pub(super) fn dropped_datagrams(inodes: &[u64]) -> io::Result<u64> {
    let mut sum = 0;
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let request = SockDiagMessage::InetRequest(InetRequest {
            family,
            protocol: IPPROTO_UDP,
            extensions: ExtensionFlags::SKMEMINFO,
            states: StateFlags::CLOSE,
            socket_id,
        });
        sum += netlink::dump(SOCK_DIAG, request, |sum: &mut u64, kind, payload| {
            if kind == SOCK_DIAG_BY_FAMILY {
                let socket = InetResponse::parse(payload)?;
                let own = inodes.binary_search(&socket.header.inode.into()).is_ok();
                for attribute in socket.nlas.iter().filter(|_| own) {
                    if let Nla::MemInfo(memory) = attribute {
                        *sum += u64::from(memory.drops);
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(sum)
}

/// Returns the number of connection attempts dropped because the queue of a listening socket
/// was full. The kernel counts since the network namespace was created, for all its sockets;
/// each retry of a peer counts.
pub(super) fn overflows() -> io::Result<u64> {
    // The namespace of the calling thread; `/proc/net` is that of the main thread.
    let text = fs::read_to_string("/proc/thread-self/net/netstat")?;
    parse(&text).ok_or_else(|| io::Error::other("/proc/net/netstat has no ListenOverflows"))
}

/// Parses pairs of lines: names, then values (`proc_pid_net(5)`).
fn parse(text: &str) -> Option<u64> {
    let mut lines = text.lines().filter(|line| line.starts_with("TcpExt:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let at = names.split(' ').position(|name| name == "ListenOverflows")?;
    values.split(' ').nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, UdpSocket};

    use rustix::fs::fstat;

    use super::*;

    #[test]
    fn overflows_are_parsed_from_netstat() {
        let text = "TcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 1 22 333\n\
                    IpExt: InNoRoutes ListenOverflows\nIpExt: 7 8\n";
        assert_eq!(parse(text), Some(22));
        assert_eq!(parse("TcpExt: SyncookiesSent\nTcpExt: 1\n"), None);
        assert_eq!(parse("TcpExt: ListenOverflows\n"), None);
        assert_eq!(parse(""), None);
        assert!(overflows().is_ok());
    }

    #[test]
    fn drops_of_a_full_buffer_are_counted() {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let inodes = [fstat(&socket).unwrap().st_ino];
        assert_eq!(dropped_datagrams(&inodes).unwrap(), 0);
        let client = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (mut sent, mut received) = (0, 0);
        // Far more than fit into the default buffer of 208 KiB.
        while sent < 5000 {
            client.send_to(&[0; 100], socket.local_addr().unwrap()).unwrap();
            sent += 1;
        }
        socket.set_nonblocking(true).unwrap();
        while socket.recv(&mut [0; 100]).is_ok() {
            received += 1;
        }
        assert!(received < sent);
        assert_eq!(dropped_datagrams(&inodes).unwrap(), sent - received);
        assert_eq!(dropped_datagrams(&[]).unwrap(), 0, "other sockets do not count");
    }
}
