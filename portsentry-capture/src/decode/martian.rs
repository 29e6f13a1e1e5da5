//! Impossible source addresses.

use std::net::IpAddr;

/// Returns whether `source` is impossible (martian), so the packet cannot be a probe.
///
/// Linux drops packets from these addresses (`ip_route_input_slow` in `net/ipv4/route.c`,
/// `ip6_rcv_core` in `net/ipv6/ip6_input.c`): 0.0.0.0, 255.255.255.255, `::` and multicast, and
/// loopback addresses on another interface than loopback. Their source is forged. Linux replies to
/// other reserved addresses
/// ([`is_reserved_source`](portsentry_core::is_reserved_source)), so they are not martian.
#[must_use]
pub fn martian_source(source: IpAddr, on_loopback: bool) -> bool {
    match source {
        IpAddr::V4(source) => match source.octets() {
            [127, ..] => !on_loopback,
            [224..=239, ..] | [0, 0, 0, 0] | [255, 255, 255, 255] => true,
            _ => false,
        },
        IpAddr::V6(source) => {
            source.is_unspecified() || source.is_multicast() || source.is_loopback() && !on_loopback
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn martian_sources_depend_on_the_interface() {
        // Address, martian on other interfaces, martian on loopback.
        let table = [
            ("127.0.0.1", true, false),
            ("127.255.255.255", true, false),
            ("126.255.255.255", false, false),
            ("128.0.0.0", false, false),
            ("0.0.0.0", true, true),
            ("0.0.0.1", false, false),
            ("0.255.255.255", false, false),
            ("1.0.0.0", false, false),
            ("223.255.255.255", false, false),
            ("224.0.0.1", true, true),
            ("239.255.255.255", true, true),
            ("240.0.0.1", false, false),
            ("255.255.255.254", false, false),
            ("255.255.255.255", true, true),
            ("169.254.1.1", false, false),
            ("10.0.0.1", false, false),
            ("::", true, true),
            ("::1", true, false),
            ("::2", false, false),
            ("fe80::1", false, false),
            ("fec0::1", false, false),
            ("ff02::1", true, true),
            ("::ffff:192.0.2.1", false, false),
            ("2001:db8::1", false, false),
        ];
        for (address, outside, loopback) in table {
            let source = address.parse().unwrap();
            assert_eq!(martian_source(source, false), outside, "{address} on other interfaces");
            assert_eq!(martian_source(source, true), loopback, "{address} on loopback");
        }
    }
}
