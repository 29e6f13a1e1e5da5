//! The hosts that are never responded to, with the reason for each, as lines of a label and a text.

use portsentry_capture::{IndispensableHost, IndispensableHosts, Interface, Role};
use portsentry_config::Configuration;

/// Returns the lines about the hosts that this host depends on, and about what is not known of
/// them. `interfaces` are those of the kernel, for their names.
pub(super) fn describe(
    configuration: &Configuration,
    hosts: &IndispensableHosts,
    interfaces: &[Interface],
) -> Vec<(&'static str, String)> {
    let never_block = configuration.settings.never_block.as_deref();
    let mut lines = Vec::new();
    if let Some(networks) = never_block {
        let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
        let text = if networks.is_empty() { "nobody".to_owned() } else { networks.join(", ") };
        lines.push(("never blocked", text));
    }
    for host in hosts.list() {
        let text = with_role(&host, interfaces);
        match never_block {
            // Own addresses are checked in any case.
            Some(networks) if host.role != Role::OwnAddress => {
                if !networks.iter().any(|network| network.contains(&host.network)) {
                    lines.push(("not protected", format!("{text}; add it to NEVER_BLOCK")));
                }
            }
            _ => lines.push(("protected", text)),
        }
    }
    lines.extend(unknown(hosts).map(|text| ("not known", text)));
    lines
}

fn with_role(host: &IndispensableHost, interfaces: &[Interface]) -> String {
    let IndispensableHost { network, role, .. } = host;
    let host = match network.prefix_len() == network.max_prefix_len() {
        true => network.addr().to_string(),
        false => network.to_string(),
    };
    let index = match role {
        Role::Gateway { gateway, .. } => gateway.interface,
        _ => 0,
    };
    match interfaces.iter().find(|interface| interface.index == index) {
        Some(interface) => format!("{host}: {role} on {}", interface.name),
        None => format!("{host}: {role}"),
    }
}

/// Returns what portsentry cannot find out about the name servers.
fn unknown(hosts: &IndispensableHosts) -> impl Iterator<Item = String> + '_ {
    let servers = hosts.name_servers();
    let forwarders = servers.forwarders.iter().map(|forwarder| {
        format!(
            "the servers to which the local name server {forwarder} forwards queries; add them to \
             the ignore file"
        )
    });
    let unreadable = servers.unreadable.iter();
    forwarders.chain(unreadable.map(|(file, why)| {
        format!("the name servers in {}, which cannot be read: {why}", file.display())
    }))
}
