//! The addresses and ports that a sensor watches.

use portsentry_core::{NetworkSet, PortSet};

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
}

impl Watched {
    /// Selects these ports at `addresses`.
    #[must_use]
    pub const fn new(addresses: NetworkSet, tcp_ports: PortSet, udp_ports: PortSet) -> Self {
        Self { addresses, tcp_ports, udp_ports }
    }

    /// Selects all ports at `addresses`.
    pub fn all_ports(addresses: NetworkSet) -> Self {
        Self { addresses, tcp_ports: PortSet::all(), udp_ports: PortSet::all() }
    }
}
