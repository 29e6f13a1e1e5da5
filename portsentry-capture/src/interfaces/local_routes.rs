//! Routes that make destinations local: the addresses that the kernel accepts packets for.
//!
//! An address of an interface has such a route in the table `local`. Further ones are added by
//! `ip route add local NETWORK dev lo` (AnyIP), and for anycast addresses. Addresses of a VRF
//! have their routes in the table of the VRF.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets};
use netlink_packet_core::{DecodeError, NlasIterator, Parseable};
use netlink_packet_route::route::{RouteFlags, RouteHeader, RouteMessage, RouteType};
use netlink_packet_route::rule::{RuleAttribute, RuleMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::rtnetlink::{ROUTE_HEADER, RTA_DST, RTA_TABLE, RTM_NEWROUTE, RTM_NEWRULE};
use crate::netlink::{self, ROUTE};

/// Number of the table `local`.
const LOCAL_TABLE: u8 = 255;

/// The requests for routes: family, type and table. An unspecified type or table selects all.
const REQUESTS: [(AddressFamily, RouteType, u8); 4] = [
    (AddressFamily::Inet, RouteType::Local, 0),
    // Broadcast addresses in local networks.
    (AddressFamily::Inet, RouteType::Unspec, LOCAL_TABLE),
    (AddressFamily::Inet6, RouteType::Local, 0),
    (AddressFamily::Inet6, RouteType::Anycast, 0),
];

/// Returns the networks to whose addresses this host accepts packets, by its routes.
///
/// About 100 us. The kernel (Linux 4.20) passes only the wanted routes, so the other routes of a
/// router cost little. Older kernels pass all routes.
pub(super) fn read() -> io::Result<Vec<IpNet>> {
    Ok(LocalRoutes::read()?.networks())
}

impl LocalRoutes {
    /// Reads the local and anycast routes, and the rules for the tables.
    pub(crate) fn read() -> io::Result<Self> {
        let mut found = LocalRoutes::default();
        let request = RouteNetlinkMessage::GetRule(RuleMessage::default());
        netlink::dump_into(&mut found, ROUTE, request, LocalRoutes::add)?;
        let is_selective = netlink::has_strict_checks()?;
        // Otherwise each request of a family returns the same.
        for (family, kind, table) in REQUESTS.into_iter().step_by(if is_selective { 1 } else { 2 })
        {
            let mut request = RouteMessage::default();
            request.header.address_family = family;
            if is_selective {
                (request.header.kind, request.header.table) = (kind, table);
            }
            let request = RouteNetlinkMessage::GetRoute(request);
            match netlink::dump_into(&mut found, ROUTE, request, LocalRoutes::add) {
                // A kernel without IPv6 has no such table, and neither has a host on which no
                // interface was ever up.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::Unsupported | io::ErrorKind::NotFound
                    ) => {}
                result => result?,
            }
        }
        Ok(found)
    }

    /// Returns the destinations of local and anycast routes as a whole, with the broadcast
    /// addresses in them.
    pub(crate) fn whole_networks(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.local.iter().filter(|route| self.is_searched(route)).map(|route| route.network)
    }

    /// Returns whether packets without a firewall mark are looked up in the table of `route`.
    fn is_searched(&self, route: &Route) -> bool {
        self.without_mark.get(&route.table) != Some(&false)
    }
}

/// Routes and rules, decoded from netlink messages.
#[derive(Clone, Debug, Default)]
pub struct LocalRoutes {
    local: Vec<Route>,
    broadcast: Vec<Route>,
    /// For each table that rules name, whether one of them needs no firewall mark.
    without_mark: BTreeMap<Table, bool>,
}

/// A table of one family. IPv6 is `true`.
type Table = (bool, u32);

#[derive(Clone, Copy, Debug)]
struct Route {
    table: Table,
    network: IpNet,
}

impl LocalRoutes {
    /// Decodes a message of this type and payload.
    ///
    /// # Errors
    ///
    /// If the payload is malformed.
    pub fn add(&mut self, kind: u16, payload: &[u8]) -> Result<(), DecodeError> {
        match kind {
            RTM_NEWROUTE => self.add_route(payload),
            RTM_NEWRULE => self.add_rule(payload),
            _ => Ok(()),
        }
    }

    fn add_route(&mut self, payload: &[u8]) -> Result<(), DecodeError> {
        // The header excludes nearly all routes of a kernel that passes all.
        let header = RouteHeader::parse(payload)?;
        let list = match (header.kind, header.address_family) {
            // The kernel accepts packets for anycast addresses of IPv6 only.
            (RouteType::Local, _) | (RouteType::Anycast, AddressFamily::Inet6) => &mut self.local,
            (RouteType::Broadcast, _) => &mut self.broadcast,
            _ => return Ok(()),
        };
        if header.flags.contains(RouteFlags::Cloned) {
            return Ok(());
        }
        let Some((network, table)) = destination(&header, payload)? else { return Ok(()) };
        // A default route of this type would make the whole Internet this host. Transparent
        // proxies use one for the packets that they mark.
        if network.prefix_len() != 0 {
            list.push(Route { table: (matches!(network, IpNet::V6(_)), table), network });
        }
        Ok(())
    }

    fn add_rule(&mut self, payload: &[u8]) -> Result<(), DecodeError> {
        let rule = RuleMessage::parse(payload)?;
        let is_v6 = match rule.header.family {
            AddressFamily::Inet => false,
            AddressFamily::Inet6 => true,
            _ => return Ok(()),
        };
        let (mut table, mut is_marked) = (u32::from(rule.header.table), false);
        for attribute in rule.attributes {
            match attribute {
                RuleAttribute::Table(number) => table = number,
                RuleAttribute::FwMark(mark) => is_marked = mark != 0,
                _ => {}
            }
        }
        *self.without_mark.entry((is_v6, table)).or_insert(false) |= !is_marked;
        Ok(())
    }

    /// Returns the networks of local and anycast routes, without the broadcast addresses in them.
    ///
    /// Tables that are searched only for packets with a firewall mark are left out. They serve
    /// transparent proxies, whose local routes cover addresses of other hosts.
    pub fn networks(&self) -> Vec<IpNet> {
        let mut networks = Vec::new();
        for route in self.local.iter().filter(|route| self.is_searched(route)) {
            match route.network {
                IpNet::V4(network) if network.prefix_len() < 32 => {
                    let broadcast = self.broadcast_within(network, route.table);
                    networks.extend(without(network, broadcast).map(IpNet::V4));
                }
                network => networks.push(network),
            }
        }
        networks
    }

    /// Returns the broadcast addresses in `network` of the same table, ascending.
    fn broadcast_within(&self, network: Ipv4Net, table: Table) -> Vec<Ipv4Net> {
        let routes = self.broadcast.iter().filter(|route| route.table == table);
        let mut found: Vec<Ipv4Net> = routes
            .filter_map(|route| match route.network {
                IpNet::V4(inner) => Some(inner),
                IpNet::V6(_) => None,
            })
            // Of two routes, the kernel takes the one with the longer prefix.
            .filter(|inner| inner.prefix_len() > network.prefix_len() && network.contains(inner))
            .collect();
        found.sort_unstable();
        found
    }
}

/// Returns what remains of `network` without the networks in `holes`, which are inside it and
/// ascending.
fn without(network: Ipv4Net, holes: Vec<Ipv4Net>) -> impl Iterator<Item = Ipv4Net> {
    let mut next = Some(u32::from(network.network()));
    let mut parts = Vec::new();
    let part =
        |first: u32, last: u32| Ipv4Subnets::new(Ipv4Addr::from(first), Ipv4Addr::from(last), 0);
    for hole in holes {
        let (first, last) = (u32::from(hole.network()), u32::from(hole.broadcast()));
        if let Some(start) = next
            && start < first
        {
            parts.push(part(start, first - 1));
        }
        next = next.and_then(|next| Some(next.max(last.checked_add(1)?)));
    }
    let last = u32::from(network.broadcast());
    if let Some(start) = next.filter(|start| *start <= last) {
        parts.push(part(start, last));
    }
    parts.into_iter().flatten()
}

/// Returns the destination of a route and the number of its table; `None` for a default route.
fn destination(header: &RouteHeader, payload: &[u8]) -> Result<Option<(IpNet, u32)>, DecodeError> {
    let (mut destination, mut table) = (None, u32::from(header.table));
    for attribute in NlasIterator::new(payload.get(ROUTE_HEADER..).unwrap_or_default()) {
        let attribute = attribute?;
        match (attribute.kind(), attribute.value()) {
            (RTA_DST, address) => destination = Some(netlink::address(address)?),
            // The number has 32 bits, of which the header contains only 8.
            (RTA_TABLE, &[a, b, c, d]) => table = u32::from_ne_bytes([a, b, c, d]),
            _ => {}
        }
    }
    let Some(address) = destination else { return Ok(None) };
    let network = IpNet::new(address, header.destination_prefix_length)
        .map_err(|_| DecodeError::from("impossible prefix length"))?;
    Ok(Some((network, table)))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const LOCAL: u8 = 2;
    const BROADCAST: u8 = 3;
    const ANYCAST: u8 = 4;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = 4 + value.len() as u16;
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn route(kind: u8, network: &str, table: u32) -> Vec<u8> {
        let network: IpNet = network.parse().unwrap();
        let (family, address) = match network.addr() {
            IpAddr::V4(address) => (2, address.octets().to_vec()),
            IpAddr::V6(address) => (10, address.octets().to_vec()),
        };
        let short = u8::try_from(table).unwrap_or(252);
        let mut bytes = vec![family, network.prefix_len(), 0, 0, short, 2, 254, kind, 0, 0, 0, 0];
        bytes.extend(attribute(15, &table.to_ne_bytes()));
        bytes.extend(attribute(1, &address));
        bytes
    }

    fn rule(family: u8, table: u32, mark: Option<u32>) -> Vec<u8> {
        let mut bytes = vec![family, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0];
        bytes.extend(attribute(15, &table.to_ne_bytes()));
        bytes.extend(mark.map(|mark| attribute(10, &mark.to_ne_bytes())).unwrap_or_default());
        bytes
    }

    fn networks(routes: &[Vec<u8>], rules: &[Vec<u8>]) -> Vec<String> {
        let mut found = LocalRoutes::default();
        for (kind, messages) in [(RTM_NEWRULE, rules), (RTM_NEWROUTE, routes)] {
            for message in messages {
                found.add(kind, message).unwrap();
            }
        }
        found.networks().iter().map(IpNet::to_string).collect()
    }

    #[test]
    fn broadcast_addresses_are_left_out_of_local_networks() {
        let found = networks(
            &[
                route(LOCAL, "127.0.0.0/30", 255),
                route(BROADCAST, "127.0.0.3/32", 255),
                route(LOCAL, "198.51.100.0/29", 255),
                route(BROADCAST, "198.51.100.2/31", 255),
                // Of another table, or with an equally long prefix.
                route(BROADCAST, "198.51.100.5/32", 77),
                route(LOCAL, "192.0.2.255/32", 255),
                route(BROADCAST, "192.0.2.255/32", 255),
                route(LOCAL, "255.255.255.254/31", 255),
                route(BROADCAST, "255.255.255.255/32", 255),
            ],
            &[],
        );
        let expected = [
            "127.0.0.0/31",
            "127.0.0.2/32",
            "198.51.100.0/31",
            "198.51.100.4/30",
            "192.0.2.255/32",
            "255.255.255.254/32",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn only_local_and_anycast_routes_count_but_no_default_route() {
        let found = networks(
            &[
                route(1, "10.0.0.0/8", 254),
                route(5, "ff00::/8", 255),
                route(LOCAL, "10.9.0.0/16", 255),
                route(LOCAL, "2001:db8:9::/64", 70_000),
                route(ANYCAST, "2001:db8::/128", 255),
                route(ANYCAST, "192.0.2.7/32", 255),
                route(LOCAL, "0.0.0.0/0", 255),
                route(LOCAL, "::/0", 255),
            ],
            &[],
        );
        assert_eq!(found, ["10.9.0.0/16", "2001:db8:9::/64", "2001:db8::/128"]);
    }

    #[test]
    fn tables_for_marked_packets_do_not_count() {
        let routes = [
            route(LOCAL, "10.1.0.0/16", 101),
            route(LOCAL, "10.2.0.0/16", 102),
            route(LOCAL, "10.3.0.0/16", 103),
            route(LOCAL, "2001:db8::/64", 101),
        ];
        let rules = [rule(2, 101, Some(1)), rule(2, 102, Some(1)), rule(2, 102, None)];
        assert_eq!(networks(&routes, &rules), ["10.2.0.0/16", "10.3.0.0/16", "2001:db8::/64"]);
        let zero = [rule(2, 101, Some(0)), rule(10, 101, Some(7))];
        assert_eq!(networks(&routes, &zero), ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]);
    }

    #[test]
    fn malformed_messages_are_errors() {
        let good = route(LOCAL, "192.0.2.1/32", 255);
        let mut found = LocalRoutes::default();
        for length in 0..good.len() {
            let _ = found.add(RTM_NEWROUTE, &good[..length]);
        }
        for (at, value) in [(1, 33), (20, 3), (20, 200)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(found.add(RTM_NEWROUTE, &bad).is_err(), "byte {at}");
        }
        assert!(found.add(RTM_NEWRULE, &[2, 0, 0]).is_err());
    }
}
