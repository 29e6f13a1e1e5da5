//! Keys of portsentry 1.x that are no more, with what to write today. Those that
//! live on under the same name are not here.

use super::Problem;

const ADVANCED_PORTS: &str = "ports are listed: write `TCP_PORTS = \"1-1023\"` (or `UDP_PORTS`) \
     with the ports to watch; those that a program serves are left out by themselves";
const ADVANCED_EXCLUDE: &str = "take it out: leave these ports out of `TCP_PORTS` and \
     `UDP_PORTS`; those that a program serves are left out by themselves";
const MODE: &str = "take it out: the ports in `TCP_PORTS` and `UDP_PORTS` say what is watched, \
     and `--stealth` (the default) or `--connect` how";

/// What is wrong with `name` if portsentry 1.x, or the scripts that Debian
/// started it with, knew it as a key.
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
