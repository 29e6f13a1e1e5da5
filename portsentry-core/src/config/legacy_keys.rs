//! Keys of portsentry 1.x that no longer exist, with their replacements. Keys that
//! exist under the same name are not listed.

use super::Problem;

const ADVANCED_PORTS: &str = "list the ports to watch: `TCP_PORTS = \"1-1023\"` (or `UDP_PORTS`); \
     ports that a program serves are left out automatically";
const ADVANCED_EXCLUDE: &str = "remove it, and list only the ports to watch in `TCP_PORTS` and \
     `UDP_PORTS`; ports that a program serves are left out automatically";
const MODE: &str = "remove it: `TCP_PORTS` and `UDP_PORTS` define the watched ports, and \
     the option `--stealth` (default) or `--connect` defines the mode";

/// Returns the problem of `name` if it was a key of portsentry 1.x, or of the scripts with
/// which Debian started it.
pub(super) fn legacy_key(name: &str) -> Option<Problem> {
    const LEGACY_KEYS: [(&str, &str); 6] = [
        ("ADVANCED_PORTS_TCP", ADVANCED_PORTS),
        ("ADVANCED_PORTS_UDP", ADVANCED_PORTS),
        ("ADVANCED_EXCLUDE_TCP", ADVANCED_EXCLUDE),
        ("ADVANCED_EXCLUDE_UDP", ADVANCED_EXCLUDE),
        ("TCP_MODE", MODE),
        ("UDP_MODE", MODE),
    ];
    let (key, instead) = LEGACY_KEYS.into_iter().find(|(key, _)| *key == name)?;
    Some(Problem::LegacyKey { key, instead })
}
