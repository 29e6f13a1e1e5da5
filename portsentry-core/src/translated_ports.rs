//! Ports whose packets are passed on to another address or port.

use core::fmt;
use core::net::IpAddr;
use core::ops::RangeInclusive;

use ipnet::IpNet;

use crate::Protocol;

/// Ports whose packets the kernel passes on to another address or port, by a rule that translates
/// destinations. No local program needs a socket for them.
///
/// `Display` writes `tcp 8080 at any IPv4 address`, or `udp 100-200 at 192.0.2.0/24`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct TranslatedPorts {
    /// The protocol.
    pub protocol: Protocol,
    /// The first port.
    pub first: u16,
    /// The last port, not less than the first.
    pub last: u16,
    /// The destination addresses that the rule applies to.
    pub destinations: IpNet,
}

impl TranslatedPorts {
    /// Creates an entry.
    pub fn new(protocol: Protocol, ports: RangeInclusive<u16>, destinations: IpNet) -> Self {
        let (first, last) = ports.into_inner();
        Self { protocol, first, last, destinations }
    }

    /// Returns whether the entry applies to packets to `address` and `port`.
    pub fn includes(&self, protocol: Protocol, address: IpAddr, port: u16) -> bool {
        self.protocol == protocol
            && (self.first..=self.last).contains(&port)
            && self.destinations.contains(&address)
    }
}

impl fmt::Display for TranslatedPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, first, last, destinations } = self;
        f.write_str(match protocol {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })?;
        write!(f, " {first}")?;
        if first != last {
            write!(f, "-{last}")?;
        }
        let host = destinations.prefix_len() == destinations.max_prefix_len();
        match destinations {
            _ if host => write!(f, " at {}", destinations.addr()),
            IpNet::V4(_) if destinations.prefix_len() == 0 => f.write_str(" at any IPv4 address"),
            IpNet::V6(_) if destinations.prefix_len() == 0 => f.write_str(" at any IPv6 address"),
            _ => write!(f, " at {destinations}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn an_entry_is_written_for_an_administrator() {
        let check = |ports, destinations: &str, expected: &str| {
            let destinations = destinations.parse().unwrap();
            let entry = TranslatedPorts::new(Protocol::Tcp, ports, destinations);
            assert_eq!(entry.to_string(), expected);
        };
        check(8080..=8080, "0.0.0.0/0", "tcp 8080 at any IPv4 address");
        check(1..=9, "::/0", "tcp 1-9 at any IPv6 address");
        check(1..=9, "192.0.2.0/24", "tcp 1-9 at 192.0.2.0/24");
        check(8080..=8080, "2001:db8::1/128", "tcp 8080 at 2001:db8::1");
    }
}
