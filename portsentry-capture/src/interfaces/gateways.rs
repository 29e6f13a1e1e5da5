//! Default gateways.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{DecodeError, Parseable};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use crate::netlink::{self, ROUTE};

const RTM_NEWROUTE: u16 = 24;

/// Returns the gateways of all default routes of the main table, including multipath routes.
/// Each gateway of either family is listed once, in ascending order. IPv6 gateways are usually
/// link-local.
///
/// Reads the routing tables as a whole. This takes milliseconds on a host, and about a second on
/// a router with all routes of the Internet.
///
/// # Errors
///
/// If the kernel returns an error. No privilege is needed.
pub fn default_gateways() -> io::Result<Vec<IpAddr>> {
    let mut gateways = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let request = RouteNetlinkMessage::GetRoute(request);
        let found = netlink::dump(ROUTE, request, |found: &mut Vec<IpAddr>, kind, payload| {
            if kind == RTM_NEWROUTE {
                collect(payload, found)?;
            }
            Ok(())
        });
        match found {
            Ok(found) => gateways.extend(found),
            // A kernel without IPv6 has no such table.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            Err(error) => return Err(error),
        }
    }
    gateways.sort_unstable();
    gateways.dedup();
    Ok(gateways)
}

fn collect(payload: &[u8], gateways: &mut Vec<IpAddr>) -> Result<(), DecodeError> {
    // The header excludes nearly all routes.
    let header = RouteHeader::parse(payload)?;
    if header.destination_prefix_length != 0 || header.kind != RouteType::Unicast {
        return Ok(());
    }
    let route = RouteMessage::parse(payload)?;
    let table = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    // The number of a table has 32 bits, of which the header contains only 8.
    if table.unwrap_or(header.table.into()) != u32::from(RouteHeader::RT_TABLE_MAIN) {
        return Ok(());
    }
    gateways.extend(route.attributes.iter().filter_map(gateway));
    for attribute in &route.attributes {
        if let RouteAttribute::MultiPath(hops) = attribute {
            let attributes = hops.iter().flat_map(|hop| &hop.attributes);
            gateways.extend(attributes.filter_map(gateway));
        }
    }
    Ok(())
}

fn gateway(attribute: &RouteAttribute) -> Option<IpAddr> {
    match *attribute {
        RouteAttribute::Gateway(RouteAddress::Inet(address))
        | RouteAttribute::Via(RouteVia::Inet(address)) => Some(address.into()),
        RouteAttribute::Gateway(RouteAddress::Inet6(address))
        | RouteAttribute::Via(RouteVia::Inet6(address)) => Some(address.into()),
        _ => None,
    }
}
