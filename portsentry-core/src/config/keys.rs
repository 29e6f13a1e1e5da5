//! The table of keys.
//!
//! A new key is a row here and a field of [`Settings`]; the compiler holds the
//! two against each other. The order is that of the reference and of written
//! configurations.

use super::DefaultValue::{Unset, Value};
use super::ValueKind::{
    BlockMode, Command, HostsDenyLine, Networks, Number, Path, Ports, Switch, Text, User,
};
use super::{Key, Settings};

/// Makes [`KEYS`], and [`Settings::blank`] out of the same rows: a field without
/// a row, or with two, does not compile.
macro_rules! keys {
    ($($field:ident: {
        name: $name:literal,
        kind: $kind:expr,
        default: $default:expr,
        summary: $summary:literal,
        help: $help:literal,
    })+) => {
        /// Every key that a configuration can set.
        pub static KEYS: &[Key] = &[$(Key {
            name: $name,
            kind: $kind,
            default: $default,
            summary: $summary,
            help: $help,
            field: |settings| &settings.$field,
            field_mut: |settings| &mut settings.$field,
        }),+];

        impl Settings {
            /// Nothing in any field, defaults neither.
            pub(super) fn blank() -> Self {
                Self { $($field: Default::default()),+ }
            }
        }
    };
}

keys! {
    tcp_ports: {
        name: "TCP_PORTS",
        kind: Ports,
        default: Unset("no TCP port is watched"),
        summary: "TCP ports to watch",
        help: "Ports 1 to 65535 and inclusive ranges, separated by commas. At least one of \
               TCP_PORTS and UDP_PORTS must be set.",
    }
    udp_ports: {
        name: "UDP_PORTS",
        kind: Ports,
        default: Unset("no UDP port is watched"),
        summary: "UDP ports to watch",
        help: "Written like TCP_PORTS. What this host sends from these ports is looked at too, so \
               that late answers to its own queries are no probes. With --connect, leave out \
               ports above 1023: its queries need them.",
    }
    ignore_file: {
        name: "IGNORE_FILE",
        kind: Path,
        default: Unset("nobody is ignored"),
        summary: "List of hosts that are let be",
        help: "One IPv4 or IPv6 address or network a line, with a prefix length or, for IPv4, a \
               dotted mask; comments begin with #. The file must exist.",
    }
    history_file: {
        name: "HISTORY_FILE",
        kind: Path,
        default: Unset("no history is kept"),
        summary: "File to which each probe is appended",
        help: "One line a probe, with the time. It is never emptied; SIGHUP has it opened again, \
               for rotation. Missing directories are created.",
    }
    blocked_file: {
        name: "BLOCKED_FILE",
        kind: Path,
        default: Unset("a host is acted on for each probe that raises the alarm"),
        summary: "File that remembers blocked hosts",
        help: "A host in it is never acted on again, across restarts too; without it, each \
               further probe of a host leads to the response again. Others must not be able to \
               write to it or to its directory. Missing directories are created.",
    }
    resolve_host: {
        name: "RESOLVE_HOST",
        kind: Switch,
        default: Value("0"),
        summary: "Whether names of hosts are looked up",
        help: "Look-ups happen beside the packet path, with a time limit. They can tell whoever \
               runs the name server of an address that it was noticed.",
    }
    block_tcp: {
        name: "BLOCK_TCP",
        kind: BlockMode,
        default: Value("0"),
        summary: "What a TCP probe leads to",
        help: "0: it is logged. 1: the host is blocked by KILL_ROUTE and KILL_HOSTS_DENY, one of \
               which must be set, and KILL_RUN_CMD is run. 2: KILL_RUN_CMD alone is run, and \
               must be set.",
    }
    block_udp: {
        name: "BLOCK_UDP",
        kind: BlockMode,
        default: Value("0"),
        summary: "What a UDP probe leads to",
        help: "Values as for BLOCK_TCP. The source of a UDP probe is easily forged: with 1 or 2 \
               anyone can make this host act on an address of their choice.",
    }
    kill_route: {
        name: "KILL_ROUTE",
        kind: Command { needs_target: true },
        default: Unset("no route or firewall command is run"),
        summary: "Command that blocks a host",
        help: "Run by /bin/sh -c. $TARGET$, which must stand in it, $PORT$ and $MODE$ (stealth \
               or connect) are replaced. The host is blocked if its exit status is 0.",
    }
    kill_hosts_deny: {
        name: "KILL_HOSTS_DENY",
        kind: HostsDenyLine,
        default: Unset("hosts.deny is not touched"),
        summary: "Line for HOSTS_DENY_FILE that blocks a host",
        help: "$TARGET$ must stand in it; placeholders as in KILL_ROUTE.",
    }
    kill_run_cmd: {
        name: "KILL_RUN_CMD",
        kind: Command { needs_target: false },
        default: Unset("no further command is run"),
        summary: "Command that is run for a host besides blocking",
        help: "Run by /bin/sh -c; placeholders as in KILL_ROUTE.",
    }
    kill_run_cmd_first: {
        name: "KILL_RUN_CMD_FIRST",
        kind: Switch,
        default: Value("0"),
        summary: "Whether KILL_RUN_CMD comes before blocking",
        help: "1: it is run first. 0: it is run after KILL_ROUTE and KILL_HOSTS_DENY.",
    }
    scan_trigger: {
        name: "SCAN_TRIGGER",
        kind: Number { min: 0, max: 65_535, unit: "probes" },
        default: Value("0"),
        summary: "Probes from one host that raise the alarm",
        help: "Probes before that are logged with triggered: [false] and lead to nothing. 0 and 1 \
               both mean the first probe.",
    }
    port_banner: {
        name: "PORT_BANNER",
        kind: Text,
        default: Unset("nothing is sent"),
        summary: "Text that connect mode sends to whoever connects",
        help: "Without effect in stealth mode.",
    }
    response_timeout: {
        name: "RESPONSE_TIMEOUT",
        kind: Number { min: 1, max: 3_600, unit: "seconds" },
        default: Value("30"),
        summary: "Seconds until a response is ended",
        help: "A command that runs longer is ended with all its children, and has failed.",
    }
    hosts_deny_file: {
        name: "HOSTS_DENY_FILE",
        kind: Path,
        default: Value("/etc/hosts.deny"),
        summary: "File that KILL_HOSTS_DENY writes to",
        help: "Must not be a symbolic link nor writable by others.",
    }
    never_block: {
        name: "NEVER_BLOCK",
        kind: Networks,
        default: Unset("own addresses (not with -L), default gateways, configured resolvers"),
        summary: "Networks that are never acted on",
        help: "Addresses and networks, separated by commas or blanks. Their probes are logged. A \
               list takes the place of the default; an empty one means that every host may be \
               acted on.",
    }
    block_rate: {
        name: "BLOCK_RATE",
        kind: Number { min: 0, max: 1_000_000, unit: "hosts a minute" },
        default: Value("600"),
        summary: "New hosts acted on per minute",
        help: "Hosts above it are logged only. It bounds what a flood of forged sources can \
               bring about. 0 means no limit.",
    }
    capture_buffer: {
        name: "CAPTURE_BUFFER",
        kind: Number { min: 1, max: 1_024, unit: "MiB" },
        default: Unset("chosen by measurement"),
        summary: "Capture buffer per interface, in MiB",
        help: "A larger one holds longer bursts. What does not fit is dropped by the kernel, \
               and counted.",
    }
    capture_rings: {
        name: "CAPTURE_RINGS",
        kind: Number { min: 1, max: 16, unit: "" },
        default: Value("1"),
        summary: "Rings per interface, each read by a thread of its own",
        help: "More than 1 serve a host that is flooded faster than one thread can read, and has \
               as many processors to spare. A source always belongs to the same ring; all \
               rings share CAPTURE_BUFFER. It needs the method raw. A change takes effect at the \
               next start.",
    }
    capture_latency: {
        name: "CAPTURE_LATENCY",
        kind: Number { min: 1, max: 10, unit: "ms" },
        default: Unset("chosen by measurement"),
        summary: "Longest time that a packet waits to be read, in ms",
        help: "Packets are read in batches: waiting longer costs less time of the processor.",
    }
    run_as: {
        name: "RUN_AS",
        kind: User,
        default: Unset("the user that started the program"),
        summary: "User to become after the start",
        help: "A name or a number. The packet process becomes this user and its groups once \
               all is open; responses, files and the pid file stay with the user that started \
               it. A change needs a restart. The unit of systemd has User= instead.",
    }
    sandbox: {
        name: "SANDBOX",
        kind: Switch,
        default: Value("1"),
        summary: "Whether the packet process gives up all rights that it does not use",
        help: "1: capabilities, files and system calls that reading packets does not need are \
               given up for good before the first packet is read. 0: they are kept, for systems \
               where that gets in the way. A change needs a restart.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::format;

    #[test]
    fn defaults_read_as_the_table_says() {
        let defaults = Settings::default();
        for key in KEYS {
            match key.default {
                Value(text) => {
                    assert_eq!(key.value(&defaults).as_deref(), Some(text), "{key:?}");
                    // Written out, a default is accepted and changes nothing.
                    let file = format!("TCP_PORTS = \"1\"\n{} = \"{text}\"\n", key.name);
                    let parsed = parse(file.as_bytes());
                    assert_eq!(parsed.diagnostics, [], "{key:?}");
                    assert_eq!(key.value(&parsed.value), key.value(&defaults), "{key:?}");
                }
                Unset(_) => {
                    assert!(key.value(&defaults).is_none_or(|text| text.is_empty()), "{key:?}");
                }
            }
        }
    }

    #[test]
    fn rows_are_fit_to_be_printed() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(key.name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{key:?}");
            assert!(!key.summary.is_empty() && !key.summary.ends_with('.'), "{key:?}");
            assert!(key.help.is_empty() || key.help.ends_with('.'), "{key:?}");
            assert!(KEYS.iter().skip(index + 1).all(|other| other.name != key.name), "{key:?}");
        }
    }
}
