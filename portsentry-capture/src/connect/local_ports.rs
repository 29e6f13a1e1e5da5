//! The local ports of outgoing connections.
//!
//! Outgoing connections cannot use a bound port. If all are bound, the host cannot reach any
//! service of other hosts, for example name servers.

use std::fs;
use std::ops::RangeInclusive;

use portsentry_core::{PortSet, Protocol};

/// Warns if most of the ports for outgoing connections are bound.
pub(super) fn warn_if_taken(tcp_ports: &PortSet, udp_ports: &PortSet) {
    let Ok(text) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else { return };
    let Some(range) = parse(&text) else { return };
    for (protocol, ports) in [(Protocol::Tcp, tcp_ports), (Protocol::Udp, udp_ports)] {
        let (all, left) = (range.clone().count(), left(&range, ports));
        if left < all / 2 {
            log::warn!(
                "only {left} of the {all} {protocol} ports for outgoing connections are free \
                 (net.ipv4.ip_local_port_range), the others are monitored; monitor fewer ports"
            );
        }
    }
}

fn left(range: &RangeInclusive<u16>, ports: &PortSet) -> usize {
    range.clone().filter(|port| !ports.contains(*port)).count()
}

/// Parses the first and the last number of the range.
fn parse(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_ascii_whitespace();
    Some(words.next()?.parse().ok()?..=words.next()?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitored_ports_reduce_the_free_ports() {
        let range = parse("32768\t60999\n").unwrap();
        assert_eq!(range, 32_768..=60_999);
        let check = |first: u16, last: u16, expected: usize| {
            assert_eq!(left(&range, &(first..=last).collect()), expected, "{first}-{last}");
        };
        check(1, 1023, 28_232);
        check(1, 65_535, 0);
        check(32_769, 60_999, 1);
        check(60_000, 65_535, 27_232);
        assert_eq!(parse("32768"), None);
        assert_eq!(parse("a b"), None);
    }
}
