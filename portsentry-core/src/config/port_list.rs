//! `TCP_PORTS` and `UDP_PORTS`: listed ports, or all ports.

use core::fmt;
use core::ops::RangeInclusive;

use crate::PortSet;

/// The ports of outgoing connections: the kernel assigns one of them to a socket that asks for no
/// port, so packets to them are usually replies.
///
/// The default is the default of Linux, 32768 to 60999
/// (`Documentation/networking/ip-sysctl.rst`, `ip_local_port_range`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalPorts {
    first: u16,
    last: u16,
}

impl LocalPorts {
    /// Creates the range from `first` to `last`, inclusive. A range that runs backwards is empty.
    pub const fn new(first: u16, last: u16) -> Self {
        Self { first, last }
    }

    /// Parses the text of `/proc/sys/net/ipv4/ip_local_port_range`, two numbers. Returns `None` for
    /// any other text.
    ///
    /// ```
    /// use portsentry_core::config::LocalPorts;
    ///
    /// assert_eq!(LocalPorts::parse("32768\t60999\n"), Some(LocalPorts::default()));
    /// assert_eq!(LocalPorts::parse("32768"), None);
    /// ```
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let range = Self::new(words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        words.next().is_none().then_some(range)
    }

    /// Returns the ports.
    pub const fn range(self) -> RangeInclusive<u16> {
        self.first..=self.last
    }
}

impl Default for LocalPorts {
    fn default() -> Self {
        Self::new(32_768, 60_999)
    }
}

/// Writes the range as in a list of ports: `32768-60999`.
impl fmt::Display for LocalPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

/// The value of `TCP_PORTS` or `UDP_PORTS`. `Display` writes the syntax of a configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PortList {
    /// These ports.
    Listed(PortSet),
    /// The word `ALL`: the ports 1 to 65535, except those of outgoing connections.
    All,
}

impl PortList {
    /// Returns the ports, if outgoing connections use those in `local`.
    ///
    /// ```
    /// use portsentry_core::config::{LocalPorts, PortList};
    ///
    /// let ports = PortList::All.ports(LocalPorts::default());
    /// assert_eq!(ports.to_string(), "1-32767,61000-65535");
    /// ```
    pub fn ports(&self, local: LocalPorts) -> PortSet {
        match self {
            Self::Listed(ports) => ports.clone(),
            Self::All => (1..=u16::MAX).filter(|port| !local.range().contains(port)).collect(),
        }
    }

    /// Returns whether [`ports`](Self::ports) contains `port`. Constant time.
    pub fn contains(&self, port: u16, local: LocalPorts) -> bool {
        match self {
            Self::Listed(ports) => ports.contains(port),
            Self::All => port != 0 && !local.range().contains(&port),
        }
    }

    /// Returns whether no port is listed.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Listed(ports) => ports.is_empty(),
            Self::All => false,
        }
    }
}

impl Default for PortList {
    fn default() -> Self {
        Self::Listed(PortSet::new())
    }
}

impl From<PortSet> for PortList {
    fn from(ports: PortSet) -> Self {
        Self::Listed(ports)
    }
}

impl FromIterator<u16> for PortList {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        Self::Listed(ports.into_iter().collect())
    }
}

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed(ports) => ports.fmt(f),
            Self::All => f.write_str("ALL"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn all_ports_are_those_without_outgoing_connections() {
        let check = |local: LocalPorts, expected: &str| {
            let ports = PortList::All.ports(local);
            assert_eq!(ports.to_string(), expected, "{local}");
            assert!(
                (0..=u16::MAX).all(|it| ports.contains(it) == PortList::All.contains(it, local))
            );
        };
        check(LocalPorts::default(), "1-32767,61000-65535");
        check(LocalPorts::new(1_024, 65_535), "1-1023");
        check(LocalPorts::new(1, 65_535), "");
        check(LocalPorts::new(2, 1), "1-65535");
        check(LocalPorts::new(40_000, 40_000), "1-39999,40001-65535");
    }

    #[test]
    fn listed_ports_do_not_depend_on_outgoing_connections() {
        let list: PortList = [7, 40_000].into_iter().collect();
        assert_eq!(list.ports(LocalPorts::default()).to_string(), "7,40000");
        assert!(list.contains(40_000, LocalPorts::default()));
        assert!(!list.contains(8, LocalPorts::default()));
    }

    #[test]
    fn only_two_numbers_are_a_range() {
        for text in ["", "1", "a b", "1 70000", "1 2 3", "-1 2"] {
            assert_eq!(LocalPorts::parse(text), None, "{text:?}");
        }
        assert_eq!(LocalPorts::parse("1024\t65535\n"), Some(LocalPorts::new(1_024, 65_535)));
    }
}
