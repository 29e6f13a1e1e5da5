//! The addresses and ports that a sensor watches, and the settings of this host for fragments.

use portsentry_core::{NetworkSet, PortSet};

use crate::FragmentLimits;

/// The addresses and ports whose probes a live sensor hands out.
///
/// A sensor may hand out further probes, because the engine checks the ports anyway. It never
/// hands out fewer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watched {
    /// Addresses of this host ([`Interface::own_addresses`](crate::Interface::own_addresses)).
    pub addresses: NetworkSet,
    /// TCP ports.
    pub tcp_ports: PortSet,
    /// UDP ports.
    pub udp_ports: PortSet,
    /// Indices of the interfaces that accept packets to 127.0.0.0/8 from the wire
    /// (`route_localnet`). On all others such packets are no probes.
    pub loopback_from: Vec<u32>,
    /// Limits of the reassembly of fragments.
    pub fragments: FragmentLimits,
}

impl Watched {
    /// Selects these ports at `addresses`.
    #[must_use]
    pub fn new(addresses: NetworkSet, tcp_ports: PortSet, udp_ports: PortSet) -> Self {
        Self { addresses, tcp_ports, udp_ports, ..Self::default() }
    }

    /// Sets the interfaces that accept packets to 127.0.0.0/8 from the wire.
    #[must_use]
    pub fn with_loopback_from(self, loopback_from: Vec<u32>) -> Self {
        Self { loopback_from, ..self }
    }

    /// Returns whether `interface` accepts packets to 127.0.0.0/8 from the wire. If its index is
    /// 0, it is unknown.
    #[must_use]
    pub fn accepts_loopback_from(&self, interface: u32) -> bool {
        match interface {
            0 => !self.loopback_from.is_empty(),
            index => self.loopback_from.contains(&index),
        }
    }

    /// Sets the limits of the reassembly of fragments.
    #[must_use]
    pub fn with_fragments(self, fragments: FragmentLimits) -> Self {
        Self { fragments, ..self }
    }

    /// Selects all ports at `addresses`.
    pub fn all_ports(addresses: NetworkSet) -> Self {
        Self::new(addresses, PortSet::all(), PortSet::all())
    }
}
