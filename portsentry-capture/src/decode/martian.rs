//! Impossible source addresses.

use std::net::IpAddr;

/// Returns whether `source` is impossible (martian), so the packet cannot be a probe.
///
/// No sender has such an address (RFC 1122 section 3.2.1.3, RFC 6890 section 2.2.2, RFC 4291
/// section 2.7): "this network" 0.0.0.0/8, multicast, 240.0.0.0/4 with the limited broadcast,
/// `::`, `ff00::/8`, and IPv4-mapped IPv6. Loopback addresses are possible only on a loopback
/// interface. No stack accepts these packets, so their source is forged.
#[must_use]
pub fn martian_source(source: IpAddr, on_loopback: bool) -> bool {
    match source {
        IpAddr::V4(source) => match source.octets() {
            [127, ..] => !on_loopback,
            [0 | 224..=255, ..] => true,
            _ => false,
        },
        IpAddr::V6(source) => {
            source.is_unspecified()
                || source.is_multicast()
                || source.is_loopback() && !on_loopback
                || source.to_ipv4_mapped().is_some()
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
            ("0.255.255.255", true, true),
            ("1.0.0.0", false, false),
            ("223.255.255.255", false, false),
            ("224.0.0.1", true, true),
            ("239.255.255.255", true, true),
            ("240.0.0.1", true, true),
            ("255.255.255.255", true, true),
            ("169.254.1.1", false, false),
            ("10.0.0.1", false, false),
            ("::", true, true),
            ("::1", true, false),
            ("::2", false, false),
            ("fe80::1", false, false),
            ("fec0::1", false, false),
            ("ff02::1", true, true),
            ("::ffff:192.0.2.1", true, true),
            ("2001:db8::1", false, false),
        ];
        for (address, outside, loopback) in table {
            let source = address.parse().unwrap();
            assert_eq!(martian_source(source, false), outside, "{address} on other interfaces");
            assert_eq!(martian_source(source, true), loopback, "{address} on loopback");
        }
    }
}
