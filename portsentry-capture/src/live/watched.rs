//! What a sensor is to look for.

use portsentry_core::{NetworkSet, PortSet};

/// The addresses and ports whose probes a live sensor hands out.
///
/// A sensor may hand out more than that, since the engine decides about ports
/// anyway; it never hands out less.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// All ports at `addresses`.
    pub fn all_ports(addresses: NetworkSet) -> Self {
        Self { addresses, tcp_ports: PortSet::all(), udp_ports: PortSet::all() }
    }
}
