//! Networks that are never responded to.

use std::io;

use ipnet::IpNet;
use portsentry_capture::{indispensable_hosts, indispensable_peers};
use portsentry_config::Configuration;

/// Returns the networks that are never responded to, sorted: those of `NEVER_BLOCK`. Without that
/// key, the hosts that this host depends on: itself (unless `-L` is given), its default gateways
/// and its name servers.
///
/// # Errors
///
/// If the kernel does not list interfaces or routes.
pub fn never_block(configuration: &Configuration) -> io::Result<Vec<IpNet>> {
    let mut networks = match &configuration.settings.never_block {
        Some(networks) => networks.clone(),
        None if configuration.local_check => indispensable_hosts()?,
        None => indispensable_peers()?,
    };
    networks.sort_unstable();
    networks.dedup();
    Ok(networks)
}
