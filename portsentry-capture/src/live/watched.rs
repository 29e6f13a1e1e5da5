//! The addresses and ports that a sensor watches.

use portsentry_core::{NetworkSet, PortSet};

/// The addresses and ports whose probes a live sensor hands out.
///
/// A sensor may hand out more than that, since the engine decides about ports
/// anyway; it never hands out less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Watched {
    /// This host's own addresses
    /// ([`Interface::own_addresses`](crate::Interface::own_addresses)).
    pub addresses: NetworkSet,
    /// TCP ports.
    pub tcp_ports: PortSet,
    /// UDP ports.
    pub udp_ports: PortSet,
}

impl Watched {
    /// These ports at `addresses`.
    #[must_use]
    pub const fn new(addresses: NetworkSet, tcp_ports: PortSet, udp_ports: PortSet) -> Self {
        Self { addresses, tcp_ports, udp_ports }
    }

    /// All ports at `addresses`.
    pub fn all_ports(addresses: NetworkSet) -> Self {
        Self { addresses, tcp_ports: PortSet::all(), udp_ports: PortSet::all() }
    }
}
