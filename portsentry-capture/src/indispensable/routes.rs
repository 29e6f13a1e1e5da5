//! Own addresses and gateways in the tables of the kernel (`rtnetlink(7)`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{DecodeError, NlasIterator};

use crate::netlink::address;
use crate::netlink::rtnetlink::{
    ROUTE_HEADER, RTA_DST, RTA_TABLE, RTM_DELADDR, RTM_DELLINK, RTM_DELNEXTHOP, RTM_DELROUTE,
    RTM_DELRULE, RTM_NEWADDR, RTM_NEWLINK, RTM_NEWNEXTHOP, RTM_NEWROUTE, RTM_NEWRULE, RTN_ANYCAST,
    RTN_LOCAL, RTN_UNICAST,
};

// Of linux/if_addr.h, linux/rtnetlink.h and linux/nexthop.h.
const ADDRESS_HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const NEXTHOP_HEADER: usize = 8;
const HOP_HEADER: usize = 8;
const RT_TABLE_LOCAL: u32 = 255;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_VIA: u16 = 18;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The number of gateways that are kept. A router has a few hundred neighbours.
const MAX_GATEWAYS: usize = 1 << 16;

/// A route through a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Gateway {
    /// The address of the gateway.
    pub address: IpAddr,
    /// Number of the routing table; `None` for a nexthop object, which any table can use.
    pub table: Option<u32>,
    /// Index of the interface, or 0.
    pub interface: u32,
}

/// Effect of a message on [`RouteTables`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Change {
    /// Nothing new.
    None,
    /// An address or a gateway was added.
    Added,
    /// Addresses or gateways may have disappeared, and are still in the tables.
    Removed,
    /// Addresses may be missing in the tables, which must be read again.
    Incomplete,
}

/// Own addresses and gateways, collected from messages of the kernel.
///
/// The number of entries does not depend on the number of routes: a gateway counts once for each
/// table and interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteTables {
    own: BTreeSet<IpNet>,
    /// Each gateway with the shortest destination that is routed to it; `None` for a nexthop
    /// object.
    gateways: BTreeMap<Gateway, Option<IpNet>>,
}

impl RouteTables {
    /// Adds the address, route or nexthop object of a netlink message with this type and payload.
    /// Removes nothing: another route may lead to the same gateway.
    ///
    /// # Errors
    ///
    /// If the payload is malformed. The tables may contain a part of it then.
    pub fn add(&mut self, kind: u16, payload: &[u8]) -> Result<Change, DecodeError> {
        match kind {
            RTM_NEWADDR => self.add_address(payload),
            RTM_NEWROUTE | RTM_DELROUTE => self.add_route(kind, payload),
            RTM_NEWNEXTHOP => self.add_nexthop(payload),
            // The routes of an interface that is down disappear without a message.
            RTM_NEWLINK | RTM_DELLINK | RTM_DELADDR | RTM_DELNEXTHOP => Ok(Change::Removed),
            // Rules decide whether the local routes of a table count.
            RTM_NEWRULE | RTM_DELRULE => Ok(Change::Incomplete),
            _ => Ok(Change::None),
        }
    }

    /// Returns the networks of this host: its addresses, and networks that are local as a whole.
    pub fn own(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.own.iter().copied()
    }

    /// Returns the gateways, each with the shortest destination that is routed to it.
    pub fn gateways(&self) -> impl Iterator<Item = (Gateway, Option<IpNet>)> + '_ {
        self.gateways.iter().map(|(gateway, destination)| (*gateway, *destination))
    }

    fn add_address(&mut self, payload: &[u8]) -> Result<Change, DecodeError> {
        let attributes = payload.get(ADDRESS_HEADER..).ok_or("short address")?;
        let (mut local, mut peer) = (None, None);
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            match attribute.kind() {
                IFA_LOCAL => local = Some(address(attribute.value())?),
                IFA_ADDRESS => peer = Some(address(attribute.value())?),
                _ => {}
            }
        }
        // On a point-to-point link IFA_ADDRESS is the other end.
        Ok(local.or(peer).map_or(Change::None, |address| self.add_own(address.into())))
    }

    pub(super) fn add_own(&mut self, network: IpNet) -> Change {
        if self.own.insert(network) { Change::Added } else { Change::None }
    }

    fn add_route(&mut self, kind: u16, payload: &[u8]) -> Result<Change, DecodeError> {
        let Some(&[family, prefix, _, _, table, _, _, route, ..]) =
            payload.first_chunk::<ROUTE_HEADER>()
        else {
            return Err(DecodeError::from("short route"));
        };
        let is_local = route == RTN_LOCAL || route == RTN_ANYCAST;
        if !is_local && route != RTN_UNICAST {
            return Ok(Change::None);
        }
        if kind == RTM_DELROUTE {
            return Ok(Change::Removed);
        }
        let mut destination = match u16::from(family) {
            AF_INET => IpAddr::from([0; 4]),
            AF_INET6 => IpAddr::from([0; 16]),
            // The other families of routes have no gateways, for example multicast routing.
            _ => return Ok(Change::None),
        };
        let (mut table, mut interface) = (u32::from(table), 0);
        let mut hops = Vec::new();
        let attributes = payload.get(ROUTE_HEADER..).unwrap_or_default();
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            let value = attribute.value();
            match attribute.kind() {
                RTA_DST => destination = address(value)?,
                RTA_OIF => interface = number(value)?,
                RTA_TABLE => table = number(value)?,
                RTA_GATEWAY => hops.push((address(value)?, None)),
                RTA_VIA => hops.extend(via(value)?.map(|address| (address, None))),
                RTA_MULTIPATH => read_hops(value, &mut hops)?,
                _ => {}
            }
        }
        let destination =
            IpNet::new(destination, prefix).map_err(|_| "impossible prefix length")?.trunc();
        if is_local {
            // A default route of this type, and tables for marked packets, serve transparent
            // proxies: the addresses are those of other hosts.
            return Ok(match (prefix, table) {
                (0, _) => Change::None,
                (_, RT_TABLE_LOCAL) => self.add_own(destination),
                _ => Change::Incomplete,
            });
        }
        let mut change = Change::None;
        for (address, hop) in hops {
            let interface = hop.unwrap_or(interface);
            let gateway = Gateway { address, table: Some(table), interface };
            change = change.max(self.add_gateway(gateway, Some(destination)));
        }
        Ok(change)
    }

    fn add_nexthop(&mut self, payload: &[u8]) -> Result<Change, DecodeError> {
        let attributes = payload.get(NEXTHOP_HEADER..).ok_or("short nexthop object")?;
        let (mut gateway, mut interface) = (None, 0);
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            match attribute.kind() {
                NHA_OIF => interface = number(attribute.value())?,
                NHA_GATEWAY => gateway = Some(address(attribute.value())?),
                _ => {}
            }
        }
        let Some(address) = gateway else { return Ok(Change::None) };
        Ok(self.add_gateway(Gateway { address, table: None, interface }, None))
    }

    fn add_gateway(&mut self, gateway: Gateway, destination: Option<IpNet>) -> Change {
        let length = |network: Option<IpNet>| network.map(|network| network.prefix_len());
        if let Some(known) = self.gateways.get_mut(&gateway) {
            if length(destination) < length(*known) {
                *known = destination;
            }
            return Change::None;
        }
        if self.gateways.len() >= MAX_GATEWAYS {
            return Change::None;
        }
        self.gateways.insert(gateway, destination);
        Change::Added
    }
}

/// Reads the hops of a multipath route (`struct rtnexthop`): gateways with their interfaces.
fn read_hops(mut bytes: &[u8], hops: &mut Vec<(IpAddr, Option<u32>)>) -> Result<(), DecodeError> {
    while let Some(header) = bytes.first_chunk::<HOP_HEADER>() {
        let [a, b, _, _, index @ ..] = *header;
        let length = usize::from(u16::from_ne_bytes([a, b]));
        let interface = u32::from_ne_bytes(index);
        let attributes = bytes.get(HOP_HEADER..length).ok_or("impossible length of a hop")?;
        for attribute in NlasIterator::new(attributes) {
            let attribute = attribute?;
            match attribute.kind() {
                RTA_GATEWAY => hops.push((address(attribute.value())?, Some(interface))),
                RTA_VIA => {
                    let gateway = via(attribute.value())?;
                    hops.extend(gateway.map(|address| (address, Some(interface))));
                }
                _ => {}
            }
        }
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(())
}

/// Reads a gateway of another family than its route (`struct rtvia`).
fn via(value: &[u8]) -> Result<Option<IpAddr>, DecodeError> {
    let (family, bytes) = value.split_first_chunk::<2>().ok_or("short gateway")?;
    match u16::from_ne_bytes(*family) {
        AF_INET | AF_INET6 => address(bytes).map(Some),
        _ => Ok(None),
    }
}

fn number(value: &[u8]) -> Result<u32, DecodeError> {
    let bytes = <[u8; 4]>::try_from(value);
    bytes.map(u32::from_ne_bytes).map_err(|_| DecodeError::from("impossible length of a number"))
}
