//! Tables of iptables-legacy, which are not part of nf_tables.

use std::fs;
use std::io::ErrorKind;

/// Whether rules of iptables-legacy may translate destinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LegacyTables {
    /// There is no such table.
    Absent,
    /// There is a table `nat`.
    Present,
    /// The kernel does not show the names of the tables to this process.
    Unreadable,
}

/// Reads the names of the tables in the network namespace of the calling thread, for IPv4 and
/// IPv6. Their rules cannot be read without a private interface of the kernel.
pub(super) fn legacy_tables() -> LegacyTables {
    let mut found = LegacyTables::Absent;
    for table in ["ip_tables_names", "ip6_tables_names"] {
        match fs::read_to_string(format!("/proc/thread-self/net/{table}")) {
            Ok(names) if names.lines().any(|name| name == "nat") => return LegacyTables::Present,
            Ok(_) => {}
            // The module is not loaded.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(_) => found = LegacyTables::Unreadable,
        }
    }
    found
}
