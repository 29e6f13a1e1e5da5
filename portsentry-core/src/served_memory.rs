//! Ports that local programs served until a short time ago.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use crate::served_ports::Bound;
use crate::{Instant, PortSet, Protocol};

/// Maximum number of remembered sockets of each protocol. Only programs of this host can fill
/// it. Then further ports are not remembered.
const CAPACITY: usize = 16_384;

/// The sockets that were served and are not any more, with the time at which each was last
/// known to be served.
#[derive(Debug, Default)]
pub(crate) struct ServedMemory {
    tcp: Remembered,
    udp: Remembered,
}

#[derive(Debug, Default)]
struct Remembered {
    /// Ports of `sockets`. Most probed ports are not among them, so the map is rarely
    /// searched.
    ports: PortSet,
    sockets: BTreeMap<(u16, Bound), Instant>,
    /// Time of the oldest socket, or an earlier time.
    oldest: Instant,
}

impl ServedMemory {
    /// Remembers that a socket was bound to `bound` and `port` at `now`.
    pub(crate) fn remember(&mut self, protocol: Protocol, bound: Bound, port: u16, now: Instant) {
        let Remembered { ports, sockets, oldest } = self.of_mut(protocol);
        if sockets.is_empty() {
            *oldest = now;
        }
        if sockets.len() < CAPACITY || sockets.contains_key(&(port, bound)) {
            ports.insert(port);
            sockets.insert((port, bound), now);
        }
    }

    /// Returns whether a packet to `address` and `port` was served less than `grace` before
    /// `now`. Takes one load for a port that is not remembered.
    pub(crate) fn serves(
        &self,
        protocol: Protocol,
        address: IpAddr,
        port: u16,
        now: Instant,
        grace: Duration,
    ) -> bool {
        let Remembered { ports, sockets, .. } = self.of(protocol);
        ports.contains(port)
            && [Bound::any(address), Bound::Address(address)]
                .iter()
                .filter_map(|bound| sockets.get(&(port, *bound)))
                .any(|last| now.since(*last) < grace)
    }

    /// Forgets some of the sockets whose grace time is over. Most calls only compare two times.
    pub(crate) fn tidy(&mut self, now: Instant, grace: Duration) {
        for remembered in [&mut self.tcp, &mut self.udp] {
            // An eighth later than necessary, so that few calls search the whole map.
            if now.since(remembered.oldest) >= grace.saturating_add(grace / 8) {
                remembered.forget_expired(now, grace);
            }
        }
    }

    /// Forgets the sockets whose grace time is over.
    pub(crate) fn forget_expired(&mut self, now: Instant, grace: Duration) {
        for remembered in [&mut self.tcp, &mut self.udp] {
            remembered.forget_expired(now, grace);
        }
    }

    const fn of(&self, protocol: Protocol) -> &Remembered {
        match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        }
    }

    const fn of_mut(&mut self, protocol: Protocol) -> &mut Remembered {
        match protocol {
            Protocol::Tcp => &mut self.tcp,
            Protocol::Udp => &mut self.udp,
        }
    }
}

impl Remembered {
    fn forget_expired(&mut self, now: Instant, grace: Duration) {
        if self.sockets.is_empty() {
            return;
        }
        self.sockets.retain(|_, last| now.since(*last) < grace);
        self.ports = self.sockets.keys().map(|(port, _)| *port).collect();
        self.oldest = self.sockets.values().min().copied().unwrap_or(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_is_bounded_and_forgets() {
        const GRACE: Duration = Duration::from_secs(80);
        let address = |host: u32| IpAddr::from(host.to_be_bytes());
        let mut memory = ServedMemory::default();
        let at = Instant::from_secs;
        for host in 0..20_000 {
            memory.remember(Protocol::Tcp, Bound::Address(address(host)), 80, at(1));
        }
        let serves = |memory: &ServedMemory, host, now| {
            memory.serves(Protocol::Tcp, address(host), 80, at(now), GRACE)
        };
        let count = |memory: &ServedMemory, now| {
            (0..20_000).filter(|host| serves(memory, *host, now)).count()
        };
        assert_eq!(
            (count(&memory, 1), count(&memory, 80), count(&memory, 81)),
            (16_384, 16_384, 0)
        );
        // A known socket is renewed, even in a full memory.
        memory.remember(Protocol::Tcp, Bound::Address(address(7)), 80, at(50));
        assert_eq!(count(&memory, 81), 1);
        memory.tidy(at(90), GRACE);
        assert_eq!((memory.tcp.sockets.len(), memory.tcp.ports.len()), (16_384, 1));
        memory.tidy(at(91), GRACE);
        assert_eq!((memory.tcp.sockets.len(), memory.tcp.oldest), (1, at(50)));
        memory.tidy(at(140), GRACE);
        assert_eq!((memory.tcp.sockets.len(), memory.tcp.ports.len()), (0, 0));
    }
}
