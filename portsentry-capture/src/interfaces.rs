//! The kernel's interfaces and their addresses, and notifications of their changes.
//!
//! All data are read over rtnetlink (`rtnetlink(7)`), for the network namespace of the calling
//! thread. libpcap's list of devices is not used, because it contains pseudo-devices and no
//! indices. This module opens no capture.

mod gateways;
mod monitor;
mod selection;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Subnets};
use netlink_packet_core::{DecodeError, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType, LinkMessage};
use portsentry_core::NetworkSet;

use crate::netlink::{self, ROUTE};

pub use gateways::default_gateways;
pub use monitor::InterfaceMonitor;
pub use selection::{Exclusions, Selection, SelectionError};

/// An interface of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    /// Name, at most 15 bytes.
    pub name: String,
    /// Index, never 0. If a name appears again with another index, it is another interface.
    pub index: u32,
    /// Whether the interface is administratively up.
    pub up: bool,
    /// Whether it is a loopback interface.
    pub loopback: bool,
    /// Whether its frames have Ethernet headers, as on loopback.
    pub ethernet: bool,
    /// Kind of a virtual interface: `veth`, `bridge`, `tun`; `None` for hardware and loopback.
    pub kind: Option<String>,
    /// Addresses, in the kernel's order.
    pub addresses: Vec<InterfaceAddress>,
}

/// An address of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceAddress {
    /// The address, including its host bits, with the length of its prefix.
    pub network: IpNet,
    /// The broadcast address, if one is set.
    pub broadcast: Option<Ipv4Addr>,
}

impl InterfaceAddress {
    /// Creates an address without a broadcast address.
    #[must_use]
    pub const fn new(network: IpNet) -> Self {
        Self { network, broadcast: None }
    }

    /// Sets the broadcast address.
    #[must_use]
    pub const fn with_broadcast(self, broadcast: Ipv4Addr) -> Self {
        Self { broadcast: Some(broadcast), ..self }
    }
}

impl Interface {
    /// Creates an Ethernet interface that is up and has no address.
    #[must_use]
    pub fn new(name: impl Into<String>, index: u32) -> Self {
        Self {
            name: name.into(),
            index,
            up: true,
            loopback: false,
            ethernet: true,
            kind: None,
            addresses: Vec::new(),
        }
    }

    /// Returns all interfaces of the kernel, sorted by index. Two netlink dumps: about 100 us for
    /// a handful of interfaces.
    ///
    /// # Errors
    ///
    /// If the kernel returns an error. No privilege is needed.
    pub fn all() -> io::Result<Vec<Self>> {
        let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let mut interfaces: Vec<Self> =
            netlink::dump(ROUTE, request, |found: &mut Vec<_>, kind, payload| {
                if kind == RTM_NEWLINK {
                    found.push(link(payload)?);
                }
                Ok(())
            })?;
        interfaces.sort_unstable_by_key(|interface| interface.index);

        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let addresses = netlink::dump(ROUTE, request, |found: &mut Vec<_>, kind, payload| {
            if kind == RTM_NEWADDR {
                found.extend(address(payload)?);
            }
            Ok(())
        })?;
        for (index, address) in addresses {
            // An interface that appeared between the two dumps is in the next snapshot.
            if let Ok(at) = interfaces.binary_search_by_key(&index, |interface| interface.index)
                && let Some(interface) = interfaces.get_mut(at)
            {
                interface.addresses.push(address);
            }
        }
        Ok(interfaces)
    }

    /// Returns all addresses of this host. Linux accepts packets to any of them on any interface
    /// (the weak host model, RFC 1122 section 3.3.4.2).
    ///
    /// These are all addresses of all `interfaces`. On a loopback interface they include the whole
    /// IPv4 prefix, except for its broadcast address: the kernel makes all of 127.0.0.0/8 local,
    /// not only 127.0.0.1.
    pub fn own_addresses(interfaces: &[Self]) -> NetworkSet {
        let mut own = Vec::new();
        for interface in interfaces {
            for address in &interface.addresses {
                match address.network {
                    IpNet::V4(network) if interface.loopback && network.prefix_len() < 31 => {
                        let last = Ipv4Addr::from(u32::from(network.broadcast()) - 1);
                        let covering = Ipv4Subnets::new(network.network(), last, 0);
                        own.extend(covering.map(IpNet::from));
                    }
                    network => own.push(network.addr().into()),
                }
            }
        }
        own.into_iter().collect()
    }
}

const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;

/// Decodes a link message. Only the attributes that are used are decoded. The others, statistics
/// and driver settings, are long and differ between kernels.
fn link(payload: &[u8]) -> Result<Interface, DecodeError> {
    const LINK_HEADER: usize = 16;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;

    let header = LinkHeader::parse(payload)?;
    let mut interface = Interface {
        name: String::new(),
        index: header.index,
        up: header.flags.contains(LinkFlags::Up),
        loopback: header.flags.contains(LinkFlags::Loopback),
        ethernet: matches!(header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback),
        kind: None,
        addresses: Vec::new(),
    };
    for attribute in NlasIterator::new(payload.get(LINK_HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            IFLA_IFNAME => interface.name = text(attribute.value()),
            IFLA_LINKINFO => {
                let nested = NlasIterator::new(attribute.value()).flatten();
                let mut kinds = nested.filter(|nested| nested.kind() == IFLA_INFO_KIND);
                interface.kind = kinds.next().map(|kind| text(kind.value()));
            }
            _ => {}
        }
    }
    Ok(interface)
}

/// Returns a string of the kernel, which ends at the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

fn address(payload: &[u8]) -> Result<Option<(u32, InterfaceAddress)>, DecodeError> {
    let message = <AddressMessage as netlink_packet_core::Parseable<_>>::parse(payload)?;
    let (mut local, mut peer, mut broadcast) = (None, None, None);
    for attribute in message.attributes {
        match attribute {
            AddressAttribute::Local(address) => local = Some(address),
            AddressAttribute::Address(address) => peer = Some(address),
            AddressAttribute::Broadcast(address) => broadcast = Some(address),
            _ => {}
        }
    }
    // On a point-to-point link `Address` is the other end, and `Local` is this host.
    let Some(address): Option<IpAddr> = local.or(peer) else { return Ok(None) };
    let network = IpNet::new(address, message.header.prefix_len)
        .map_err(|_| DecodeError::from("impossible prefix length"))?;
    Ok(Some((message.header.index, InterfaceAddress { network, broadcast })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(loopback: bool, addresses: &[&str]) -> Interface {
        let address =
            |text: &&str| InterfaceAddress { network: text.parse().unwrap(), broadcast: None };
        let addresses = addresses.iter().map(address).collect();
        Interface {
            name: "x".into(),
            index: 1,
            up: true,
            loopback,
            ethernet: true,
            kind: None,
            addresses,
        }
    }

    #[test]
    fn own_addresses_are_those_of_all_interfaces() {
        let own = Interface::own_addresses(&[
            interface(true, &["127.0.0.1/8", "::1/128", "198.51.100.9/30"]),
            interface(false, &["192.0.2.7/24", "fe80::1/64", "169.254.3.4/16"]),
        ]);
        let check = |address: &str, expected: bool| {
            assert_eq!(own.contains(address.parse().unwrap()), expected, "{address}");
        };
        check("127.0.0.1", true);
        check("127.255.1.2", true);
        check("127.0.0.0", true);
        check("127.255.255.254", true);
        check("127.255.255.255", false);
        check("128.0.0.1", false);
        check("198.51.100.8", true);
        check("198.51.100.11", false);
        check("198.51.100.12", false);
        check("::1", true);
        check("::2", false);
        check("192.0.2.7", true);
        check("192.0.2.8", false);
        check("192.0.2.255", false);
        check("fe80::1", true);
        check("fe80::2", false);
        check("169.254.3.4", true);
        check("255.255.255.255", false);
        check("224.0.0.1", false);
    }
}
