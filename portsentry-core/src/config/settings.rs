//! The configuration as a value.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use ipnet::IpNet;

use super::{KEYS, Key, Template, ValueKind};
use crate::PortSet;

/// The configuration as a value: what the keys of the file say.
///
/// [`Settings::default`] is an empty file: every key at its default, and so no
/// port to watch. `Display` writes a file that reads back as the same value,
/// provided that no text holds what a file cannot (a double quote, a line break
/// or another control character) and no network has bits behind its prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// `TCP_PORTS`: the TCP ports watched.
    pub tcp_ports: PortSet,
    /// `UDP_PORTS`: the UDP ports watched.
    pub udp_ports: PortSet,
    /// `IGNORE_FILE`: the list of hosts that are let be.
    pub ignore_file: Option<String>,
    /// `HISTORY_FILE`: where each probe is recorded.
    pub history_file: Option<String>,
    /// `BLOCKED_FILE`: where blocked hosts are remembered.
    pub blocked_file: Option<String>,
    /// `RESOLVE_HOST`: whether names of hosts are looked up.
    pub resolve_host: bool,
    /// `BLOCK_TCP`: what a TCP probe leads to.
    pub block_tcp: BlockMode,
    /// `BLOCK_UDP`: what a UDP probe leads to.
    pub block_udp: BlockMode,
    /// `KILL_ROUTE`: the shell command that blocks a host.
    pub kill_route: Option<Template>,
    /// `KILL_HOSTS_DENY`: the line for [`hosts_deny_file`](Self::hosts_deny_file).
    pub kill_hosts_deny: Option<Template>,
    /// `KILL_RUN_CMD`: the shell command that is run besides.
    pub kill_run_cmd: Option<Template>,
    /// `KILL_RUN_CMD_FIRST`: whether that command comes before blocking.
    pub kill_run_cmd_first: bool,
    /// `SCAN_TRIGGER`: the probes of one host that raise the alarm. 0 and 1
    /// both mean the first.
    pub scan_trigger: u16,
    /// `PORT_BANNER`: what connect mode answers.
    pub port_banner: Option<String>,
    /// `RESPONSE_TIMEOUT`: seconds until a response is ended.
    pub response_timeout: u32,
    /// `HOSTS_DENY_FILE`: the file that `KILL_HOSTS_DENY` goes to.
    pub hosts_deny_file: String,
    /// `NEVER_BLOCK`: networks never acted on. `None` if the file says nothing:
    /// the own addresses, gateways and resolvers of this host then; an empty
    /// list is none at all.
    pub never_block: Option<Vec<IpNet>>,
    /// `BLOCK_RATE`: new hosts acted on per minute, 0 for any number.
    pub block_rate: u32,
    /// `CAPTURE_BUFFER`: MiB of capture buffer per interface, `None` for what
    /// the sensor thinks best.
    pub capture_buffer: Option<u32>,
    /// `CAPTURE_RINGS`: rings per interface, each read by a thread of its own.
    pub capture_rings: u16,
    /// `CAPTURE_LATENCY`: milliseconds that a packet may wait for others,
    /// `None` for what the sensor thinks best.
    pub capture_latency: Option<u32>,
    /// `RUN_AS`: the user to become after the start.
    pub run_as: Option<String>,
    /// `SANDBOX`: whether the packet process gives up rights it does not use.
    pub sandbox: bool,
}

/// What a probe of a protocol leads to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BlockMode {
    /// `0`: it is logged.
    #[default]
    Log,
    /// `1`: the host is blocked, and the command run if there is one.
    Block,
    /// `2`: the command is run, and nothing else.
    Command,
}

impl Default for Settings {
    fn default() -> Self {
        let mut settings = Self::blank();
        KEYS.iter().for_each(|key| key.reset(&mut settings));
        settings
    }
}

impl Settings {
    /// The settings for a host without a configuration file: log only, on ports
    /// whose services left common use long ago and that scanners still try.
    ///
    /// No UDP port that stray broadcasts reach (7 and 9 are used to wake
    /// machines, 513 by rwho), and none above 1023, where late answers to this
    /// host's own queries arrive.
    pub fn built_in() -> Self {
        // systat, daytime, netstat, qotd, chargen, telnet, time, nameserver,
        // gopher, finger, supdup, pop2, rexec, rlogin, uucp, kerberized rlogin and
        // rsh, ingreslock; NetBus twice and its successor, trinoo, Back Orifice.
        const TCP: [u16; 26] = [
            1, 7, 9, 11, 13, 15, 17, 19, 23, 37, 42, 70, 79, 95, 109, 512, 513, 540, 543, 544,
            1524, 12_345, 12_346, 20_034, 27_665, 31_337,
        ];
        // The same, and talk and ntalk.
        const UDP: [u16; 9] = [1, 11, 13, 17, 19, 37, 42, 517, 518];
        Self {
            tcp_ports: TCP.into_iter().collect(),
            udp_ports: UDP.into_iter().collect(),
            ..Self::default()
        }
    }

    /// Shows every path that is set to `visit`, with its key, in the order of
    /// the table. For whoever makes them absolute.
    pub fn for_each_path(&mut self, mut visit: impl FnMut(&'static Key, &mut String)) {
        for key in KEYS.iter().filter(|key| key.kind == ValueKind::Path) {
            if let Some(path) = (key.field_mut)(self).text_mut() {
                visit(key, path);
            }
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for key in KEYS {
            if let Some(value) = key.value(self) {
                writeln!(f, "{} = \"{value}\"", key.name)?;
            }
        }
        Ok(())
    }
}
