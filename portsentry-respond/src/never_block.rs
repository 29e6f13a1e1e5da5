//! NetworkSet that are never responded to.

use std::fs;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use portsentry_capture::{Interface, default_gateways};
use portsentry_config::Configuration;

/// The networks that are never acted on, sorted: those of `NEVER_BLOCK`, or
/// else what this host cannot do without, and forged packets would cut off:
/// itself (unless `-L` is given), its default gateways and its name servers.
pub fn never_block(configuration: &Configuration) -> io::Result<Vec<IpNet>> {
    let mut networks = match &configuration.settings.never_block {
        Some(networks) => networks.clone(),
        None => {
            let mut addresses = default_gateways()?;
            addresses.extend(name_servers(&fs::read("/etc/resolv.conf").unwrap_or_default()));
            let mut networks: Vec<IpNet> = addresses.into_iter().map(IpNet::from).collect();
            if configuration.local_check {
                networks.extend(own_networks(&Interface::all()?));
            }
            networks
        }
    };
    networks.sort_unstable();
    networks.dedup();
    Ok(networks)
}

/// The addresses of `interfaces`; for loopback the whole prefixes, all of which
/// are this host (RFC 1122 section 3.2.1.3).
fn own_networks(interfaces: &[Interface]) -> impl Iterator<Item = IpNet> {
    interfaces.iter().flat_map(|interface| {
        interface.addresses.iter().map(|address| match interface.loopback {
            true => address.network.trunc(),
            false => IpNet::from(address.network.addr()),
        })
    })
}

/// The name servers in the text of `resolv.conf(5)`. Zones are left out: the
/// address alone is compared.
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

    #[test]
    fn name_servers_are_read_as_the_resolver_does() {
        let text = b"# nameserver 192.0.2.9\nsearch example.com\nnameserver 192.0.2.1\n\
                     nameserver\t2001:db8::53\r\n nameserver fe80::1%eth0\nnameserver x\nnameserver\n";
        let expected: [IpAddr; 3] =
            ["192.0.2.1", "2001:db8::53", "fe80::1"].map(|address| address.parse().unwrap());
        assert_eq!(name_servers(text), expected);
    }
}
