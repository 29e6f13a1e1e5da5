//! The destination addresses to observe.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use portsentry_core::NetworkSet;

/// The destination addresses whose packets are observed.
///
/// Packets to multicast, broadcast and unspecified addresses are never observed, because they
/// probe no single host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets(Option<NetworkSet>);

impl Targets {
    /// Selects every destination.
    #[must_use]
    pub const fn all() -> Self {
        Self(None)
    }

    /// Selects only destinations within these networks.
    #[must_use]
    pub fn within(networks: impl IntoIterator<Item = IpNet>) -> Self {
        Self(Some(networks.into_iter().collect()))
    }

    /// Returns whether packets to `address` are observed. Costs as much as
    /// [`NetworkSet::contains`].
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let is_single_host = !address.is_multicast()
            && !address.is_unspecified()
            && address != IpAddr::V4(Ipv4Addr::BROADCAST);
        is_single_host && self.0.as_ref().is_none_or(|networks| networks.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_contain_only_single_hosts() {
        let networks = ["192.0.2.0/28", "2001:db8::7/128", "224.0.0.0/3", "::/128"];
        let chosen = Targets::within(networks.map(|network| network.parse().unwrap()));
        // Address, observed with all, observed with the networks.
        let table = [
            ("192.0.2.15", true, true),
            ("192.0.2.16", true, false),
            ("2001:db8::7", true, true),
            ("2001:db8::8", true, false),
            ("127.0.0.1", true, false),
            ("240.0.0.1", true, true),
            ("0.0.0.0", false, false),
            ("224.0.0.1", false, false),
            ("255.255.255.255", false, false),
            ("::", false, false),
            ("ff02::1", false, false),
        ];
        for (address, all, within) in table {
            let parsed = address.parse().unwrap();
            assert_eq!(Targets::all().contains(parsed), all, "{address} of all");
            assert_eq!(chosen.contains(parsed), within, "{address} within networks");
        }
        assert!(!Targets::within([]).contains(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
}
