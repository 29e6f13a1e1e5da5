//! Unusual sources and targets.

use std::net::{Ipv4Addr, Ipv6Addr};

use portsentry_testbed::Namespace;

use super::{Form, Step, each, form, set, syn, unchanged};
use crate::evasion::Wire;
use crate::frames::{TCP, UDP, udp, with};

/// Returns SYNs over IPv4, each between the addresses that `ends` returns for its port.
fn syns_v4(wire: &Wire, ends: fn(u8, [[u8; 4]; 2]) -> [[u8; 4]; 2]) -> Vec<Step> {
    each(|port| {
        let mut wire = *wire;
        wire.between.v4 = ends(port.to_be_bytes()[1], wire.between.v4);
        wire.send_v4(TCP, &syn(port))
    })
}

/// Returns SYNs over IPv6 in the same way.
fn syns_v6(wire: &Wire, ends: fn(u8, [Ipv6Addr; 2]) -> [Ipv6Addr; 2]) -> Vec<Step> {
    each(|port| {
        let mut wire = *wire;
        let between = wire.between.v6.map(Ipv6Addr::from);
        wire.between.v6 = ends(port.to_be_bytes()[1], between).map(|address| address.octets());
        wire.send_v6(TCP, &syn(port))
    })
}

/// Makes whole networks local, as `ip-route(8)` describes for the type `local`.
fn add_local_networks(host: &Namespace) {
    host.ip(&["route", "add", "local", "198.51.100.0/24", "dev", "lo"]);
    host.ip(&["-6", "route", "add", "local", "2001:db8:9::/64", "dev", "lo"]);
}

/// Makes the host a router, which has the anycast address of its network (RFC 4291 section 2.6.1).
fn forward(host: &Namespace) {
    set(host, "ipv6/conf/all/forwarding", "1");
    // Otherwise the kernel limits the number of messages to all destinations.
    set(host, "ipv6/icmp/ratemask", "128");
}

pub(super) const FORMS: &[Form] = &[
    form("to a local network", add_local_networks, |wire| {
        syns_v4(wire, |number, [source, _]| [source, [198, 51, 100, number]])
    }),
    form("to a local network, IPv6", add_local_networks, |wire| {
        syns_v6(wire, |number, [source, _]| {
            [source, Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 7, 0, 0, number.into())]
        })
    }),
    form("to the anycast address of routers", forward, |wire| {
        each(|port| {
            let mut wire = *wire;
            wire.between.v6[1][8..].fill(0);
            wire.send_v6(UDP, &with(&udp(b"x"), 2, &port.to_be_bytes()))
        })
    }),
    form("from the range that is reserved for future use", unchanged, |wire| {
        syns_v4(wire, |number, [_, target]| [[240 + number % 16, 1, 2, number], target])
    }),
    form("from a host of this network", unchanged, |wire| {
        syns_v4(wire, |number, [_, target]| [[0, 1, 2, number], target])
    }),
    form("from mapped addresses", unchanged, |wire| {
        syns_v6(wire, |number, [_, target]| {
            [Ipv4Addr::new(192, 0, 2, number).to_ipv6_mapped(), target]
        })
    }),
    form(
        "to loopback, where it is routed",
        |host| set(host, "ipv4/conf/all/route_localnet", "1"),
        |wire| syns_v4(wire, |number, [source, _]| [source, [127, 0, 0, number]]),
    ),
    form(
        "to loopback, where one interface routes it",
        |host| {
            set(host, &format!("ipv4/conf/{}/route_localnet", host.interface()), "1");
        },
        |wire| syns_v4(wire, |number, [source, _]| [source, [127, 1, 0, number]]),
    ),
];
