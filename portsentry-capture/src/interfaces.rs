//! The kernel's interfaces and their addresses, and notifications of their changes.
//!
//! All data are read over rtnetlink (`rtnetlink(7)`), for the network namespace of the calling
//! thread. libpcap's list of devices is not used, because it contains pseudo-devices and no
//! indices. This module opens no capture.

mod local_routes;
mod monitor;
mod selection;

use std::io;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NlaBuffer, NlasIterator};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkFlags, LinkHeader, LinkLayerType, LinkMessage};
use portsentry_core::NetworkSet;

use crate::netlink::rtnetlink::{RTM_NEWADDR, RTM_NEWLINK};
use crate::netlink::{self, ROUTE};

pub use local_routes::LocalRoutes;
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
    /// Index of the interface that this one is a port of: a bridge, bond or VRF.
    pub master: Option<u32>,
    /// Index of the interface below this one, in the same namespace: the trunk of a VLAN, the
    /// parent of a macvlan, the other end of a veth pair.
    pub lower: Option<u32>,
    /// Whether this interface accepts packets to 127.0.0.0/8 from the wire by its own setting
    /// `net.ipv4.conf.INTERFACE.route_localnet`. The setting of `all` has the same effect.
    pub routes_loopback: bool,
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
            master: None,
            lower: None,
            routes_loopback: false,
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
    /// These are all addresses of all `interfaces`, and all destinations of the kernel's local and
    /// anycast routes, except for broadcast addresses. Loopback has such a route for 127.0.0.0/8;
    /// `ip route add local NETWORK dev lo` adds one for a whole network. Left out are default
    /// routes of these types, and routing tables that are searched only for packets with a
    /// firewall mark, because transparent proxies use them for addresses of other hosts.
    ///
    /// About 100 us. The kernel selects the routes (Linux 4.20), so a full routing table costs
    /// little; older kernels pass all routes.
    ///
    /// # Errors
    ///
    /// If the kernel returns an error. No privilege is needed.
    pub fn own_addresses(interfaces: &[Self]) -> io::Result<NetworkSet> {
        let addresses = interfaces.iter().flat_map(|interface| &interface.addresses);
        // The kernel has no route for an address of an interface that is down.
        let assigned = addresses.map(|address| IpNet::from(address.network.addr()));
        Ok(assigned.chain(local_routes::read()?).collect())
    }
}

/// Decodes a link message. Only the attributes that are used are decoded. The others, statistics
/// and driver settings, are long and differ between kernels.
pub fn link(payload: &[u8]) -> Result<Interface, DecodeError> {
    const LINK_HEADER: usize = 16;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_LINK: u16 = 5;
    const IFLA_MASTER: u16 = 10;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_AF_SPEC: u16 = 26;
    const IFLA_LINK_NETNSID: u16 = 37;

    let header = LinkHeader::parse(payload)?;
    let mut interface = Interface {
        name: String::new(),
        index: header.index,
        up: header.flags.contains(LinkFlags::Up),
        loopback: header.flags.contains(LinkFlags::Loopback),
        ethernet: matches!(header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback),
        kind: None,
        master: None,
        lower: None,
        routes_loopback: false,
        addresses: Vec::new(),
    };
    let mut lower_is_elsewhere = false;
    for attribute in NlasIterator::new(payload.get(LINK_HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        match attribute.kind() {
            IFLA_IFNAME => interface.name = text(attribute.value()),
            IFLA_LINKINFO => {
                let nested = NlasIterator::new(attribute.value()).flatten();
                let mut kinds = nested.filter(|nested| nested.kind() == IFLA_INFO_KIND);
                interface.kind = kinds.next().map(|kind| text(kind.value()));
            }
            // Some interfaces without a lower one name themselves.
            IFLA_LINK => {
                interface.lower = number(attribute.value()).filter(|lower| *lower != header.index);
            }
            IFLA_LINK_NETNSID => lower_is_elsewhere = true,
            IFLA_MASTER => interface.master = number(attribute.value()),
            IFLA_AF_SPEC => interface.routes_loopback = routes_loopback(attribute.value()),
            _ => {}
        }
    }
    if lower_is_elsewhere {
        interface.lower = None;
    }
    Ok(interface)
}

/// Returns an index of an interface, which is not 0.
fn number(value: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(value.try_into().ok()?)).filter(|number| *number != 0)
}

/// Returns the setting `route_localnet` in the attribute of all address families.
fn routes_loopback(families: &[u8]) -> bool {
    const AF_INET: u16 = 2;
    const IFLA_INET_CONF: u16 = 1;
    /// `IPV4_DEVCONF_ROUTE_LOCALNET` of `linux/ip.h`. The numbers start at 1.
    const ROUTE_LOCALNET: usize = 26;

    fn nested(bytes: &[u8], kind: u16) -> Option<&[u8]> {
        const HEADER: usize = 4;
        let mut rest = bytes;
        loop {
            let attribute = NlaBuffer::new_checked(rest).ok()?;
            let length = usize::from(attribute.length());
            if attribute.kind() == kind {
                return rest.get(HEADER..length);
            }
            rest = rest.get(length.next_multiple_of(4)..)?;
        }
    }

    let settings = nested(families, AF_INET).and_then(|it| nested(it, IFLA_INET_CONF));
    let setting = settings.and_then(|it| it.chunks_exact(4).nth(ROUTE_LOCALNET - 1));
    setting.is_some_and(|value| value.iter().any(|byte| *byte != 0))
}

/// Returns a string of the kernel, which ends at the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

/// Decodes a message about an address. Returns the index of the interface and the address.
pub fn address(payload: &[u8]) -> Result<Option<(u32, InterfaceAddress)>, DecodeError> {
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
