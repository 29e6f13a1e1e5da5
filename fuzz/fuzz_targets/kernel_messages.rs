//! Reads any bytes as the kernel's messages about interfaces, addresses, routes, rules and
//! nexthop objects.
//!
//! Each message has three bytes before it: its type, and its length in network byte order.
#![no_main]

use ipnet::IpNet;
use libfuzzer_sys::fuzz_target;
use portsentry_capture::kernel_messages::{LocalRoutes, RouteTables, address, link};

fuzz_target!(|input: &[u8]| {
    let (mut routes, mut messages, mut rest) = (LocalRoutes::default(), 0, input);
    let mut tables = RouteTables::default();
    while let Some(([kind, high, low], bytes)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(bytes.len());
        let (payload, after) = bytes.split_at(length);
        rest = after;
        messages += 1;
        let _ = link(payload);
        let _ = address(payload);
        let _ = routes.add((*kind).into(), payload);
        let _ = tables.add((*kind).into(), payload);
    }
    // Each address is in an attribute of at least eight bytes.
    assert!(tables.own().count() <= messages);
    assert!(tables.gateways().count() <= input.len() / 8);
    let networks = routes.networks();
    assert!(networks.iter().all(|network| network.prefix_len() > 0));
    // Each broadcast address splits a network into 31 networks at most.
    assert!(networks.len() <= messages * (1 + 31 * messages));
    assert!(messages > 0 || networks == [] as [IpNet; 0]);
});
