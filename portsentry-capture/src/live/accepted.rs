//! TCP connections that this host accepts.
//!
//! A SYN is read some milliseconds after its arrival. A short connection is closed by then, and
//! if the service listened for this connection only, the kernel has no trace of it. But the host
//! has sent a SYN-ACK, and the kernel queues a copy of it before it is sent. It shows that the
//! SYN went to a service, wherever that runs: for example behind a redirection to a container.
//!
//! If the socket cannot be opened or read, only such short connections are affected.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use portsentry_core::{Instant, NetworkSet, Observation, PortSet, ScanKind, Timestamp};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with, sockopt};

use super::Watched;
use super::bpf::{ACCEPTED_LENGTH, attach_accepted_filter};
use super::packet_socket;
use crate::{batch, clock};

/// Time for which a connection is remembered at least, and at most twice. A SYN is read within
/// milliseconds, or within half a second if the reader is overloaded.
const LIFETIME: Duration = Duration::from_secs(1);

/// Maximum number of connections in each generation. Under a flood to a served port, two
/// generations last for 330 ms at 100,000 connections per second. They take 3 MiB then.
const CAPACITY: usize = 16_384;

/// Room for SYN-ACKs that wait, in bytes. By default there is room for about 250 of them, which a
/// flood to a served port fills before the next read. This is room for a tenth of a second at
/// 100,000 connections per second; it is used only then.
const BUFFER: usize = 16 << 20;

/// Own address and port, and those of the peer.
type Connection = (IpAddr, u16, IpAddr, u16);

/// Reads the SYN-ACKs of this host, while TCP ports are monitored.
#[derive(Debug, Default)]
pub(super) struct AcceptedConnections {
    socket: Option<OwnedFd>,
    addresses: NetworkSet,
    ports: PortSet,
    recent: Recent,
    /// All SYN-ACKs up to this packet time were read.
    read_until: Option<Timestamp>,
    /// Whether a failure was logged.
    failed: bool,
}

impl AcceptedConnections {
    /// Watches for connections to these addresses and TCP ports.
    pub(super) fn watch(&mut self, watched: &Watched) {
        let Watched { addresses, tcp_ports, .. } = watched;
        let same = (&self.addresses, &self.ports) == (addresses, tcp_ports);
        if same && (self.socket.is_some() || tcp_ports.is_empty()) {
            return;
        }
        (self.addresses, self.ports) = (addresses.clone(), tcp_ports.clone());
        if tcp_ports.is_empty() {
            self.socket = None;
            return;
        }
        let result = match &self.socket {
            Some(socket) => attach_accepted_filter(socket.as_fd(), addresses, tcp_ports),
            None => open(addresses, tcp_ports).map(|socket| self.socket = Some(socket)),
        };
        self.check(result);
    }

    /// Starts a round over the captures. Earlier reads no longer count, because the wall
    /// clock may have been set back.
    pub(super) const fn start_round(&mut self) {
        self.read_until = None;
    }

    /// Returns whether this host has accepted the connection that `observation` opens. Two
    /// lookups for a SYN to a monitored port; a system call if the SYN is newer than the last
    /// read.
    pub(super) fn contains(&mut self, observation: &Observation) -> bool {
        let Observation { time, source, source_port, target, target_port, .. } = *observation;
        if self.socket.is_none()
            || observation.kind() != ScanKind::Syn
            || !self.ports.contains(target_port)
        {
            return false;
        }
        if self.read_until.is_none_or(|until| time > until) {
            self.read_until = Some(clock::wall());
            self.read();
        }
        self.recent.contains(&(target, target_port, source, source_port))
    }

    fn read(&mut self) {
        let Some(socket) = &self.socket else { return };
        let now = clock::monotonic();
        let recent = &mut self.recent;
        let result = loop {
            let count = batch::receive::<ACCEPTED_LENGTH>(socket, &mut |packet| {
                if let Some(connection) = connection(packet) {
                    recent.insert(connection, now);
                }
            });
            match count {
                Ok(batch::BATCH) => {}
                other => break other.map(drop),
            }
        };
        self.check(result);
    }

    fn check(&mut self, result: io::Result<()>) {
        match result {
            Ok(()) => self.failed = false,
            Err(error) => {
                self.socket = None;
                if !std::mem::replace(&mut self.failed, true) {
                    log::warn!(
                        "cannot capture the replies of this host to connections ({error}): very \
                         short connections may be reported as probes; reload the configuration \
                         (SIGHUP) to retry"
                    );
                }
            }
        }
    }
}

fn open(addresses: &NetworkSet, ports: &PortSet) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    // Without a protocol it receives nothing until it is bound, when the filter is there.
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, flags, None)?;
    attach_accepted_filter(socket.as_fd(), addresses, ports)?;
    // Without CAP_NET_ADMIN, the buffer is as large as `net.core.rmem_max` permits.
    sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER)
        .or_else(|_| sockopt::set_socket_recv_buffer_size(&socket, BUFFER))?;
    packet_socket::bind(socket.as_fd(), 0)?;
    Ok(socket)
}

/// Returns the ends of the TCP segment that starts with these headers.
fn connection(packet: &[u8]) -> Option<Connection> {
    let (own, peer, tcp): (IpAddr, IpAddr, _) = match packet.first()? >> 4 {
        4 => {
            let own: [u8; 4] = *packet.get(12..)?.first_chunk()?;
            let peer: [u8; 4] = *packet.get(16..)?.first_chunk()?;
            let length = usize::from(packet.first()? & 0x0f) * 4;
            (Ipv4Addr::from(own).into(), Ipv4Addr::from(peer).into(), packet.get(length..)?)
        }
        6 => {
            let own: [u8; 16] = *packet.get(8..)?.first_chunk()?;
            let peer: [u8; 16] = *packet.get(24..)?.first_chunk()?;
            (Ipv6Addr::from(own).into(), Ipv6Addr::from(peer).into(), packet.get(40..)?)
        }
        _ => return None,
    };
    let (&[a, b, c, d], _) = tcp.split_first_chunk()?;
    Some((own, u16::from_be_bytes([a, b]), peer, u16::from_be_bytes([c, d])))
}

/// The connections of the last one to two seconds, in two generations of limited size.
#[derive(Debug, Default)]
struct Recent {
    new: HashSet<Connection>,
    old: HashSet<Connection>,
    since: Instant,
}

impl Recent {
    fn insert(&mut self, connection: Connection, now: Instant) {
        let age = now.since(self.since);
        if age >= LIFETIME || self.new.len() >= CAPACITY {
            std::mem::swap(&mut self.new, &mut self.old);
            self.new.clear();
            if age >= 2 * LIFETIME {
                self.old.clear();
            }
            self.since = now;
        }
        self.new.insert(connection);
    }

    fn contains(&self, connection: &Connection) -> bool {
        self.new.contains(connection) || self.old.contains(connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(number: u32) -> Connection {
        (Ipv4Addr::LOCALHOST.into(), 80, Ipv4Addr::from(number).into(), 4_000)
    }

    #[test]
    fn recent_connections_are_bounded() {
        let at = |milliseconds| Instant::default().after(Duration::from_millis(milliseconds));
        let mut recent = Recent::default();
        recent.insert(number(1), at(5_000));
        recent.insert(number(2), at(5_999));
        recent.insert(number(3), at(6_000));
        assert!([1, 2, 3].iter().all(|it| recent.contains(&number(*it))));
        recent.insert(number(4), at(7_000));
        assert!(!recent.contains(&number(1)) && recent.contains(&number(3)));
        recent.insert(number(5), at(9_000));
        assert!(!recent.contains(&number(4)) && recent.contains(&number(5)));
        for it in 0..100_000 {
            recent.insert(number(it), at(9_001));
            assert!(recent.new.len() <= CAPACITY && recent.old.len() <= CAPACITY);
        }
        assert!((100_000 - 16_384..100_000).all(|it| recent.contains(&number(it))));
    }

    #[test]
    fn ends_are_parsed() {
        let v4 = [
            &[0x46, 0, 0, 44, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 198, 51, 100, 7][..],
            &[1; 4],
            &[0, 80, 0x0f, 0xa0],
        ]
        .concat();
        let peer: IpAddr = [198, 51, 100, 7].into();
        assert_eq!(connection(&v4), Some(([192, 0, 2, 1].into(), 80, peer, 4_000)));
        let own: Ipv6Addr = "2001:db8::1".parse().unwrap();
        let peer: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let v6 =
            [&[0x60, 0, 0, 0, 0, 20, 6, 64][..], &own.octets(), &peer.octets(), &[0, 80, 0, 7]];
        let v6 = v6.concat();
        assert_eq!(connection(&v6), Some((own.into(), 80, peer.into(), 7)));
        for packet in [v4, v6] {
            for length in 0..packet.len() {
                assert_eq!(connection(&packet[..length]), None);
            }
        }
        assert_eq!(connection(&[0x50; 64]), None);
    }
}
