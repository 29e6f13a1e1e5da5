//! The ports whose packets the kernel passes on to another address or port.
//!
//! A container publishes a port, or a rule redirects it: the kernel then translates the
//! destination of its packets before a socket is searched. So a port can be in use without any
//! socket. This module reads the rules of `nf_tables`, also those of `iptables-nft`, and the
//! kernel's table of connections. Both need `CAP_NET_ADMIN`. If the kernel has `nf_tables` as a
//! module that is not loaded, a read loads it.
//!
//! The reader follows the chains of the hook `prerouting` with all packets, and each condition
//! narrows these packets by protocol, port and destination. A condition about anything else is
//! taken as met, so the result rather includes too many ports than too few. Only a rule that names
//! neither ports nor destinations is not taken as all ports: it is reported instead.
//!
//! - `ranges`, `class`: sets of ports and addresses, and the packets of a rule.
//! - `attributes`, `ruleset`: from messages of the kernel to chains, rules and sets.
//! - `registers`, `expression`, `compat`: the conditions of a rule.
//! - `walk`: from chain to chain, to the translating rules.
//! - `read`, `monitor`, `conntrack`, `legacy`: questions to the kernel.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod attributes;
mod class;
mod compat;
mod conntrack;
mod expression;
mod legacy;
mod monitor;
mod ranges;
mod read;
mod registers;
mod ruleset;
mod walk;

use netlink_packet_core::NetlinkBuffer;
use portsentry_core::{ServedPorts, TranslatedPorts};

pub use conntrack::{TrackedConnection, tracked_connection};
pub use legacy::LegacyTables;
pub use monitor::TranslationMonitor;
pub use read::translations;
use ruleset::Ruleset;
use walk::Findings;

/// The ports that rules of this host translate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Translations {
    /// The ports, sorted. An entry may include another one.
    pub ports: Vec<TranslatedPorts>,
    /// Rules that translate, and that name neither ports nor destinations: `table nat, chain
    /// PREROUTING, handle 7`. Only some of them, if there are many. Their packets are not among
    /// the ports.
    pub unknown_rules: Vec<String>,
    /// Whether the rules are too many to be read completely.
    pub incomplete: bool,
    /// Whether there may be other rules, which cannot be read.
    pub legacy: LegacyTables,
}

impl Translations {
    fn new(findings: &Findings, legacy: LegacyTables) -> Self {
        let ports = findings.ports();
        let is_network = |it: &&TranslatedPorts| {
            it.destinations.prefix_len() != 0 && it.first != it.last
                || (1..it.destinations.max_prefix_len()).contains(&it.destinations.prefix_len())
        };
        let networks = ports.iter().filter(is_network).count();
        Self {
            incomplete: findings.incomplete
                || ports.len() >= walk::MAX_RESULTS
                || networks > ServedPorts::MAX_NETWORKS,
            ports,
            unknown_rules: findings.unknown.iter().cloned().collect(),
            legacy,
        }
    }

    /// Returns the translations of the rules in `dump`: messages of netlink about tables, chains,
    /// rules, sets and elements, as the kernel sends them. Messages of other kinds, and everything
    /// behind a malformed one, are ignored. A set without elements in `dump` constrains nothing.
    ///
    /// Bounded: keeps at most 64 MiB and makes at most eight million steps.
    pub fn of_dump(dump: &[u8]) -> Self {
        let mut rules = Ruleset::default();
        let mut rest = dump;
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            rules.add(message.message_type(), message.payload());
            let next = (message.length() as usize).next_multiple_of(4);
            rest = rest.get(next..).unwrap_or_default();
        }
        Self::new(&walk::walk(&rules), LegacyTables::Absent)
    }
}
