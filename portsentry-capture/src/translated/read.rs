//! Reads the rules over netlink.

use std::io;

use netlink_packet_core::{NetlinkPayload, NetlinkSerializable};
use rustix::io::Errno;

use super::Translations;
use super::attributes::{HEADER, encode_name};
use super::legacy::legacy_tables;
use super::ruleset::{NEW_CHAIN, NEW_ELEMENTS, NEW_RULE, NEW_SET, NEW_TABLE, NF_TABLES, Ruleset};
use super::walk::{Findings, walk};
use crate::netlink::{self, NETFILTER};

/// Attempts to read tables that change meanwhile. The result of the last attempt counts.
const ATTEMPTS: u32 = 5;

/// Attempts to read sets that other sets lead to, for example maps of chains with maps.
const ROUNDS: u32 = 16;

/// Sets that are read, at most.
const MAX_SETS: usize = 65_536;

/// A request of a subsystem of netfilter.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) kind: u16,
    pub(super) body: Vec<u8>,
}

impl NetlinkSerializable for Request {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.body.len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        buffer.copy_from_slice(&self.body);
    }
}

impl From<Request> for NetlinkPayload<Request> {
    fn from(request: Request) -> Self {
        Self::InnerMessage(request)
    }
}

/// Returns the header of a message of this family.
pub(super) const fn header(family: u8) -> [u8; HEADER] {
    [family, 0, 0, 0]
}

/// Returns the translated ports in the network namespace of the calling thread.
///
/// Takes one dump of the chains if none translates; otherwise one of each table with such a chain,
/// and one of each set in its rules that may depend on ports or destinations. A few microseconds for each rule and about 20 for each set.
///
/// # Errors
///
/// If the kernel does not permit it: `CAP_NET_ADMIN` is needed. A kernel without `nf_tables` is
/// no error, because no rule of it can exist.
pub fn translations() -> io::Result<Translations> {
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        match read() {
            Ok((findings, is_mixed)) if !is_mixed || attempts == 0 => {
                return Ok(Translations::new(&findings, legacy_tables()));
            }
            Ok(_) => {}
            // A table or set was removed after its name was read.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::NOENT) && attempts > 0 => {}
            Err(error) if is_unsupported(&error) => {
                return Ok(Translations::new(&Findings::default(), legacy_tables()));
            }
            Err(error) => return Err(error),
        }
    }
}

/// Returns whether the kernel has no netfilter, or no `nf_tables`.
fn is_unsupported(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::PROTONOSUPPORT | Errno::INVAL | Errno::OPNOTSUPP)
    )
}

/// Reads the rules once. Returns the result, and whether the rules changed meanwhile.
fn read() -> io::Result<(Findings, bool)> {
    let mut rules = read_without_elements()?;
    let mut sets = 0;
    for _ in 0..ROUNDS {
        let mut findings = walk(&rules);
        sets += findings.missing.len();
        if findings.missing.is_empty() || sets > MAX_SETS || rules.is_mixed {
            findings.incomplete |= !findings.missing.is_empty();
            return Ok((findings, rules.is_mixed));
        }
        for set in findings.missing {
            let (family, table, name) = &set;
            let only = [encode_name(1, table), encode_name(2, name)].concat();
            rules = dump(rules, NEW_ELEMENTS, *family, &only)?;
            rules.has_elements(&set);
        }
    }
    let mut findings = walk(&rules);
    findings.incomplete |= !findings.missing.is_empty();
    Ok((findings, rules.is_mixed))
}

/// Reads everything but the elements of sets, which can be many.
fn read_without_elements() -> io::Result<Ruleset> {
    let mut rules = dump(Ruleset::default(), NEW_CHAIN, 0, &[])?;
    let tables = rules.tables();
    if tables.is_empty() {
        return Ok(rules);
    }
    rules = dump(rules, NEW_TABLE, 0, &[])?;
    for (family, table) in tables {
        let only = encode_name(1, &table);
        rules = dump(rules, NEW_RULE, family, &only)?;
        rules = dump(rules, NEW_SET, family, &only)?;
    }
    Ok(rules)
}

/// Adds the entries that the kernel sends as messages `kind` of `family` (0: all).
fn dump(rules: Ruleset, kind: u16, family: u8, attributes: &[u8]) -> io::Result<Ruleset> {
    let body = [&header(family)[..], attributes].concat();
    // Each request has the number behind that of its answer.
    let request = Request { kind: NF_TABLES | (kind + 1), body };
    let entries: Vec<(u16, Vec<u8>)> =
        netlink::dump(NETFILTER, request, |entries: &mut Vec<_>, kind, payload| {
            entries.push((kind, payload.to_vec()));
            Ok(())
        })?;
    let mut rules = rules;
    for (kind, payload) in entries {
        rules.add(kind, &payload);
    }
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use portsentry_testbed::{Namespace, require_root};

    use super::*;

    const RULES: &str = "table ip t {
        set sources { type ipv4_addr
        }
        set ports { type inet_service
        }
        set both { type ipv4_addr . inet_service
        }
        map chains { type ipv4_addr : verdict
        }
        chain c { type nat hook prerouting priority dstnat
            ip saddr @sources drop
            tcp dport @ports redirect
            ip saddr . tcp dport @both redirect
            ip saddr vmap @chains
        }
    }";

    #[test]
    fn sets_of_sources_only_are_not_read() {
        let Some(root) = require_root() else { return };
        let host = Namespace::isolated(root);
        host.run("nft", &[RULES]);
        let rules = host.enter(read_without_elements).unwrap();
        let missing = walk(&rules).missing;
        let names = missing.iter().map(|(_, _, name)| String::from_utf8_lossy(name));
        assert_eq!(names.collect::<Vec<_>>(), ["both", "chains", "ports"]);
    }
}
