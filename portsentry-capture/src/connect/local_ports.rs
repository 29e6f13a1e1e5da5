//! The local ports of outgoing connections.
//!
//! Outgoing connections cannot use a bound port. If all are bound, the host cannot reach any
//! service of other hosts, for example name servers.

use std::fs;

use portsentry_core::config::LocalPorts;
use portsentry_core::{PortSet, Protocol};

/// Warns if most of the ports for outgoing connections are bound.
pub(super) fn warn_if_taken(tcp_ports: &PortSet, udp_ports: &PortSet) {
    let Ok(text) = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range") else { return };
    let Some(range) = LocalPorts::parse(&text) else { return };
    for (protocol, ports) in [(Protocol::Tcp, tcp_ports), (Protocol::Udp, udp_ports)] {
        let (all, left) = (range.range().count(), left(range, ports));
        if left < all / 2 {
            log::warn!(
                "only {left} of the {all} {protocol} ports for outgoing connections are free \
                 (net.ipv4.ip_local_port_range), the others are monitored; monitor fewer ports"
            );
        }
    }
}

fn left(range: LocalPorts, ports: &PortSet) -> usize {
    range.range().filter(|port| !ports.contains(*port)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monitored_ports_reduce_the_free_ports() {
        let check = |first: u16, last: u16, expected: usize| {
            assert_eq!(
                left(LocalPorts::default(), &(first..=last).collect()),
                expected,
                "{first}-{last}"
            );
        };
        check(1, 1023, 28_232);
        check(1, 65_535, 0);
        check(32_769, 60_999, 1);
        check(60_000, 65_535, 27_232);
    }
}
