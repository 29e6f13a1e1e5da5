//! The ports that local programs serve.

use alloc::vec::Vec;
use core::net::IpAddr;

use ipnet::IpNet;

use crate::{Instant, PortSet, Protocol, TranslatedPorts};

/// A snapshot of the ports that local programs serve, by address.
///
/// A caller that can read the kernel's socket tables creates it, for
/// [`Engine::set_served_ports`](crate::Engine::set_served_ports).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedPorts {
    tcp: Sockets,
    udp: Sockets,
    /// Both ends of the UDP sockets that receive from one peer only; sorted.
    connected: Vec<(End, End)>,
    /// The local ports of these sockets, for a fast check like
    /// [`Sockets::on_some_address`].
    connected_ports: PortSet,
    /// Time of the snapshot.
    pub(crate) taken_at: Instant,
}

/// An address and a port, as the kernel compares them.
type End = (IpAddr, u16);

/// The sockets of one protocol.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    /// Ports bound to `0.0.0.0`, or to `::` without the restriction to IPv6.
    on_any_v4: PortSet,
    /// Ports bound to `::`.
    on_any_v6: PortSet,
    /// Sockets bound to one address; sorted.
    on_address: Vec<(IpAddr, u16)>,
    /// The ports of these sockets, and of `networks`. Most probed ports are not among them, so
    /// the lists are rarely searched.
    on_some_address: PortSet,
    /// First and last of the ports that are translated for the addresses of a network.
    networks: Vec<(IpNet, u16, u16)>,
}

/// An address that a socket is bound to, as the kernel compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Bound {
    AnyV4,
    AnyV6,
    Address(IpAddr),
}

impl Bound {
    /// Returns the wildcard that receives packets to `address`.
    pub(crate) const fn any(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(_) => Self::AnyV4,
            IpAddr::V6(_) => Self::AnyV6,
        }
    }
}

impl Sockets {
    /// Returns whether a socket receives packets to `address` and `port`.
    fn serve(&self, address: IpAddr, port: u16) -> bool {
        let on_any = match address {
            IpAddr::V4(_) => &self.on_any_v4,
            IpAddr::V6(_) => &self.on_any_v6,
        };
        on_any.contains(port)
            || self.on_some_address.contains(port)
                && (self.is_bound(Bound::Address(address), port)
                    || self.is_translated(address, port))
    }

    /// Returns whether the port is translated for a network of this address.
    fn is_translated(&self, address: IpAddr, port: u16) -> bool {
        self.networks.iter().any(|(network, first, last)| {
            (first..=last).contains(&&port) && network.contains(&address)
        })
    }

    /// Adds translated ports; those of a network only if there is room.
    fn add(&mut self, ports: &TranslatedPorts) {
        let TranslatedPorts { first, last, destinations, .. } = *ports;
        let range = first..=last;
        match destinations {
            _ if destinations.prefix_len() == 0 => match destinations {
                IpNet::V4(_) => self.on_any_v4.insert_range(range),
                IpNet::V6(_) => self.on_any_v6.insert_range(range),
            },
            _ if destinations.prefix_len() == destinations.max_prefix_len()
                && range.len() <= ServedPorts::MAX_LISTED =>
            {
                self.on_some_address.insert_range(range.clone());
                self.on_address.extend(range.map(|port| (destinations.addr(), port)));
            }
            _ if self.networks.len() < ServedPorts::MAX_NETWORKS => {
                self.on_some_address.insert_range(range);
                self.networks.push((destinations, first, last));
            }
            _ => {}
        }
    }

    /// Returns whether a socket is bound to exactly this address and port.
    pub(crate) fn is_bound(&self, bound: Bound, port: u16) -> bool {
        match bound {
            Bound::AnyV4 => self.on_any_v4.contains(port),
            Bound::AnyV6 => self.on_any_v6.contains(port),
            Bound::Address(address) => {
                self.on_some_address.contains(port)
                    && self.on_address.binary_search(&(address, port)).is_ok()
            }
        }
    }

    /// Returns the address and port of the sockets that are not in `later`. Takes about two
    /// microseconds, and O(log n) for each socket bound to a single address.
    pub(crate) fn missing_in<'a>(
        &'a self,
        later: &'a Self,
    ) -> impl Iterator<Item = (Bound, u16)> + 'a {
        let v4 = self.on_any_v4.without(&later.on_any_v4).map(|port| (Bound::AnyV4, port));
        let v6 = self.on_any_v6.without(&later.on_any_v6).map(|port| (Bound::AnyV6, port));
        let single = self.on_address.iter().map(|&(address, port)| (Bound::Address(address), port));
        let single = single.filter(|&(bound, port)| !later.is_bound(bound, port));
        v4.chain(v6).chain(single)
    }
}

impl ServedPorts {
    /// Creates a snapshot of sockets. Each is a tuple of protocol, bound address, port, and
    /// whether an IPv6 socket is restricted to IPv6 (RFC 3493 section 5.3).
    pub fn new(sockets: impl IntoIterator<Item = (Protocol, IpAddr, u16, bool)>) -> Self {
        let mut served = Self::default();
        for (protocol, address, port, v6_only) in sockets {
            let table = match protocol {
                Protocol::Tcp => &mut served.tcp,
                Protocol::Udp => &mut served.udp,
            };
            // A socket on an IPv4-mapped address receives IPv4 (RFC 3493 section 3.7).
            match address.to_canonical() {
                IpAddr::V4(v4) if v4.is_unspecified() => table.on_any_v4.insert(port),
                IpAddr::V6(v6) if v6.is_unspecified() => {
                    table.on_any_v6.insert(port);
                    if !v6_only {
                        table.on_any_v4.insert(port);
                    }
                }
                address => {
                    table.on_some_address.insert(port);
                    table.on_address.push((address, port));
                }
            }
        }
        for table in [&mut served.tcp, &mut served.udp] {
            table.on_address.sort_unstable();
            table.on_address.dedup();
        }
        served
    }

    /// Adds connected UDP sockets. Each is a tuple of the local and the remote address and
    /// port. Such a socket receives only the datagrams of its peer (`udp(7)`).
    #[must_use]
    pub fn with_connected(mut self, sockets: impl IntoIterator<Item = (End, End)>) -> Self {
        let canonical = |(address, port): End| (address.to_canonical(), port);
        for (local, peer) in sockets {
            self.connected_ports.insert(local.1);
            self.connected.push((canonical(local), canonical(peer)));
        }
        self.connected.sort_unstable();
        self
    }

    /// Ports of one address that are listed one by one. More than these are kept as a range.
    const MAX_LISTED: usize = 256;

    /// Number of entries for networks in a snapshot, at most.
    pub const MAX_NETWORKS: usize = 1024;

    /// Adds ports that need no socket, because a rule translates the destination of their packets.
    /// They count as ports with a socket at each of the destinations.
    ///
    /// An entry for a network, or for more than 256 ports of one address, is searched linearly
    /// when a packet to one of its ports is decided. At most [`MAX_NETWORKS`](Self::MAX_NETWORKS)
    /// of them are kept for each protocol. With
    /// [`Policy::served_grace`](crate::Policy::served_grace), the engine does not remember such
    /// an entry, but all others.
    #[must_use]
    pub fn with_translated<'a>(
        mut self,
        ports: impl IntoIterator<Item = &'a TranslatedPorts>,
    ) -> Self {
        for ports in ports {
            match ports.protocol {
                Protocol::Tcp => self.tcp.add(ports),
                Protocol::Udp => self.udp.add(ports),
            }
        }
        for table in [&mut self.tcp, &mut self.udp] {
            // Mostly sorted already.
            table.on_address.sort();
            table.on_address.dedup();
        }
        self
    }

    /// Sets the time at which the snapshot was taken, for
    /// [`Policy::served_grace`](crate::Policy::served_grace). Without it, the engine uses the
    /// latest time that it knows.
    #[must_use]
    pub const fn taken_at(mut self, now: Instant) -> Self {
        self.taken_at = now;
        self
    }

    /// Returns the sockets of one protocol, without those that are connected.
    pub(crate) const fn sockets(&self, protocol: Protocol) -> &Sockets {
        match protocol {
            Protocol::Tcp => &self.tcp,
            Protocol::Udp => &self.udp,
        }
    }

    /// Returns whether a UDP socket at `local` is connected to `peer`. Takes one load for a
    /// port without such sockets, otherwise O(log n) in the number of connected sockets.
    pub fn is_connected(&self, local: (IpAddr, u16), peer: (IpAddr, u16)) -> bool {
        self.connected_ports.contains(local.1)
            && self.connected.binary_search(&(local, peer)).is_ok()
    }

    /// Returns whether a local program receives packets to `address` and `port`. Takes two
    /// loads for a port that no program serves, otherwise O(log n) in the number of sockets
    /// bound to single addresses.
    pub fn serves(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.sockets(protocol).serve(address, port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks one socket with one destination.
    #[track_caller]
    fn check(bound: &str, v6_only: bool, asked: &str, expected: bool) {
        let bound = bound.parse().unwrap();
        let served = ServedPorts::new([(Protocol::Tcp, bound, 80, v6_only)]);
        let asked = asked.parse().unwrap();
        assert_eq!(served.serves(Protocol::Tcp, asked, 80), expected, "{bound} for {asked}");
        assert!(!served.serves(Protocol::Tcp, asked, 81));
        assert!(!served.serves(Protocol::Udp, asked, 80));
    }

    #[test]
    fn a_connected_socket_serves_only_its_peer() {
        let end = |text: &str| {
            let end: core::net::SocketAddr = text.parse().unwrap();
            (end.ip(), end.port())
        };
        let served = ServedPorts::default().with_connected([
            (end("192.0.2.1:4000"), end("192.0.2.53:53")),
            (end("[::ffff:192.0.2.1]:4001"), end("[::ffff:192.0.2.53]:53")),
            (end("[2001:db8::1]:4000"), end("[2001:db8::53]:53")),
        ]);
        let check = |local: &str, peer: &str, expected: bool| {
            assert_eq!(served.is_connected(end(local), end(peer)), expected, "{local} {peer}");
        };
        check("192.0.2.1:4000", "192.0.2.53:53", true);
        check("192.0.2.1:4001", "192.0.2.53:53", true);
        check("[2001:db8::1]:4000", "[2001:db8::53]:53", true);
        check("192.0.2.1:4000", "192.0.2.53:54", false);
        check("192.0.2.1:4000", "192.0.2.54:53", false);
        check("192.0.2.1:4002", "192.0.2.53:53", false);
        check("192.0.2.2:4000", "192.0.2.53:53", false);
        let local = "192.0.2.1".parse().unwrap();
        assert!(!served.serves(Protocol::Udp, local, 4000));
    }

    #[test]
    fn a_socket_serves_the_addresses_that_the_kernel_delivers_to_it() {
        check("0.0.0.0", false, "192.0.2.1", true);
        check("0.0.0.0", false, "2001:db8::1", false);
        check("::", false, "2001:db8::1", true);
        check("::", false, "192.0.2.1", true);
        check("::", true, "192.0.2.1", false);
        check("::", true, "2001:db8::1", true);
        check("192.0.2.1", false, "192.0.2.1", true);
        check("192.0.2.1", false, "192.0.2.2", false);
        check("2001:db8::1", true, "2001:db8::1", true);
        check("::ffff:192.0.2.1", false, "192.0.2.1", true);
        check("::ffff:0.0.0.0", false, "192.0.2.1", true);
        check("::ffff:0.0.0.0", false, "2001:db8::1", false);
    }

    #[test]
    fn translated_ports_are_served_at_their_destinations() {
        let entries = [
            ("0.0.0.0/0", 80, 90),
            ("::/0", 100, 100),
            ("192.0.2.1/32", 443, 443),
            ("192.0.2.2/32", 1, 65_535),
            ("198.51.100.0/24", 22, 23),
            ("2001:db8::/64", 22, 22),
        ];
        let entries = entries.map(|(destinations, first, last)| {
            TranslatedPorts::new(Protocol::Tcp, first..=last, destinations.parse().unwrap())
        });
        let sockets = [(Protocol::Tcp, "192.0.2.1".parse().unwrap(), 25, false)];
        let served = ServedPorts::new(sockets).with_translated(&entries);
        for address in
            ["192.0.2.1", "192.0.2.2", "192.0.2.3", "198.51.100.7", "2001:db8::1", "2001:db9::1"]
        {
            let address = address.parse().unwrap();
            for port in [1, 22, 23, 24, 25, 79, 80, 85, 90, 91, 100, 443, 65_535] {
                let translated =
                    entries.iter().any(|entry| entry.includes(Protocol::Tcp, address, port));
                let expected = translated || (address, port) == (sockets[0].1, 25);
                let found = served.serves(Protocol::Tcp, address, port);
                assert_eq!(found, expected, "{address} {port}");
                assert!(!served.serves(Protocol::Udp, address, port));
            }
        }
    }

    #[test]
    fn the_number_of_networks_is_bounded() {
        let network = "192.0.2.0/24".parse().unwrap();
        let entries: Vec<_> = (1..3000)
            .map(|port| TranslatedPorts::new(Protocol::Udp, port..=port, network))
            .collect();
        let served = ServedPorts::default().with_translated(&entries);
        let target = "192.0.2.1".parse().unwrap();
        let found = (1..3000).filter(|port| served.serves(Protocol::Udp, target, *port)).count();
        assert_eq!(found, ServedPorts::MAX_NETWORKS);
    }
}
