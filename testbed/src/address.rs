//! Addresses of a testbed, drawn at random from the private ranges.

use std::net::{Ipv4Addr, Ipv6Addr};

use rustix::rand::{GetRandomFlags, getrandom};

/// Length of the IPv4 prefix of the network of both ends.
pub(crate) const V4_PREFIX: u8 = 24;
/// Length of the IPv6 prefix of the network of both ends.
pub(crate) const V6_PREFIX: u8 = 64;

/// The addresses of both ends of the veth pair.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) host: (Ipv4Addr, Ipv6Addr),
    pub(crate) scanner: (Ipv4Addr, Ipv6Addr),
}

impl Plan {
    /// Draws the addresses of two neighbours: one network in 10.0.0.0/8 (RFC 1918) and
    /// one in fd00::/8 (RFC 4193).
    pub(crate) fn draw() -> Self {
        let mut bytes = [0; 12];
        let drawn = getrandom(&mut bytes, GetRandomFlags::empty()).expect("random bytes");
        assert_eq!(drawn, bytes.len(), "too few random bytes");
        let [a, b, c, d, e, f, g, h, i, j, first, second] = bytes;

        // The host part is below 128 at the host and above at the scanner, so the two
        // differ. Tests use 0 and 252 to 255 for third parties, so neither end has them.
        let (host, scanner) = (1 + first % 127, 128 + second % 124);
        let v4 = |last| Ipv4Addr::new(10, a, b, last);
        let word = |high, low| u16::from_be_bytes([high, low]);
        let v6 = |last: u8| {
            let network = [word(0xfd, c), word(d, e), word(f, g), word(h, i)];
            let [n0, n1, n2, n3] = network;
            Ipv6Addr::new(n0, n1, n2, n3, 0, 0, u16::from(j) + 1, u16::from(last))
        };
        Self { host: (v4(host), v6(host)), scanner: (v4(scanner), v6(scanner)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_end_has_an_address_of_a_third_party() {
        for _ in 0..10_000 {
            let plan = Plan::draw();
            for (address, ends) in [(plan.host.0, 1..128), (plan.scanner.0, 128..252)] {
                assert!(ends.contains(&address.octets()[3]), "{address}");
            }
        }
    }
}
