//! Hosts that must not be blocked, because this host depends on them.

use std::fs;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::{Interface, default_gateways};

/// Returns the networks that this host depends on, sorted: its own addresses, and those of
/// [`indispensable_peers`]. Anyone can forge packets with these sources, so they should never
/// be blocked.
///
/// Loopback networks are included as a whole (RFC 1122 section 3.2.1.3). A few netlink dumps,
/// see [`default_gateways`].
///
/// # Errors
///
/// If the kernel does not list interfaces or routes. No privilege is needed.
pub fn indispensable_hosts() -> io::Result<Vec<IpNet>> {
    let mut networks = indispensable_peers()?;
    networks.extend(own_networks(&Interface::all()?));
    networks.sort_unstable();
    networks.dedup();
    Ok(networks)
}

/// Returns the other hosts that this host depends on, sorted: its default gateways and the name
/// servers of `/etc/resolv.conf`.
///
/// # Errors
///
/// If the kernel does not list routes. No privilege is needed.
pub fn indispensable_peers() -> io::Result<Vec<IpNet>> {
    let mut addresses = default_gateways()?;
    addresses.extend(name_servers(&fs::read("/etc/resolv.conf").unwrap_or_default()));
    let mut networks: Vec<IpNet> = addresses.into_iter().map(IpNet::from).collect();
    networks.sort_unstable();
    networks.dedup();
    Ok(networks)
}

/// Returns the addresses of `interfaces`; for loopback the whole networks.
fn own_networks(interfaces: &[Interface]) -> impl Iterator<Item = IpNet> {
    interfaces.iter().flat_map(|interface| {
        interface.addresses.iter().map(|address| match interface.loopback {
            true => address.network.trunc(),
            false => IpNet::from(address.network.addr()),
        })
    })
}

/// Returns the name servers in the text of `resolv.conf(5)`, without zones, because only
/// addresses are compared.
fn name_servers(text: &[u8]) -> Vec<IpAddr> {
    String::from_utf8_lossy(text)
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let address = words.next().filter(|word| *word == "nameserver").and(words.next())?;
            address.split('%').next()?.parse().ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InterfaceAddress;

    #[test]
    fn own_networks_include_the_whole_loopback_network() {
        let with = |mut interface: Interface, loopback, network: &str| {
            interface.loopback = loopback;
            interface.addresses = vec![InterfaceAddress::new(network.parse().unwrap())];
            interface
        };
        let interfaces = [
            with(Interface::new("lo", 1), true, "127.0.0.1/8"),
            with(Interface::new("eth0", 2), false, "192.0.2.7/24"),
        ];
        let networks: Vec<String> = own_networks(&interfaces).map(|it| it.to_string()).collect();
        assert_eq!(networks, ["127.0.0.0/8", "192.0.2.7/32"]);
    }

    #[test]
    fn name_servers_are_read_as_the_resolver_does() {
        let text = b"# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n\
                     nameserver\t2001:db8::53\r\n nameserver fe80::1%eth0\nnameserver x\nnameserver\n";
        let expected: [IpAddr; 3] =
            ["192.0.2.1", "2001:db8::53", "fe80::1"].map(|address| address.parse().unwrap());
        assert_eq!(name_servers(text), expected);
    }
}
