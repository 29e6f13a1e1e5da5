//! Suggestions for unknown keys.

use portsentry_core::config::KEYS;
use strsim::damerau_levenshtein;

/// Returns the key most similar to `name`, apart from capitals. `None` if more than a third
/// of it would have to change.
pub(crate) fn similar_key(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase().replace('-', "_");
    KEYS.iter()
        .map(|key| (damerau_levenshtein(&name, key.name), key.name))
        .filter(|(distance, key)| *distance <= key.len().max(name.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, key)| key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        let check =
            |name: &str, expected: Option<&str>| assert_eq!(similar_key(name), expected, "{name}");
        check("TCP_PORT", Some("TCP_PORTS"));
        check("TCP_PROTS", Some("TCP_PORTS"));
        check("udp_ports", Some("UDP_PORTS"));
        check("tcp-ports", Some("TCP_PORTS"));
        check("BLOCKTCP", Some("BLOCK_TCP"));
        check("KILL_HOST_DENY", Some("KILL_HOSTS_DENY"));
        check("KILL_RUN_COMMAND", Some("KILL_RUN_CMD"));
        check("ADVANCED_PORTS", None);
        check("X", None);
        check("", None);
    }
}
