//! Networks that are never responded to.

use ipnet::IpNet;
use portsentry_capture::IndispensableHosts;
use portsentry_config::Configuration;

/// Returns the networks that are never responded to, sorted: those of `NEVER_BLOCK`. Without that
/// key, the hosts that this host depends on: itself (unless `-L` is given), its gateways and its
/// name servers.
pub(crate) fn never_block(configuration: &Configuration, hosts: &IndispensableHosts) -> Vec<IpNet> {
    match &configuration.settings.never_block {
        Some(networks) => {
            let mut networks = networks.clone();
            networks.sort_unstable();
            networks.dedup();
            networks
        }
        None => hosts.networks(configuration.local_check),
    }
}
