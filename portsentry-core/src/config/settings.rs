//! The configuration as a value.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use ipnet::IpNet;

use super::{PortList, Template};

/// The configuration as a value: one field for each key of the file.
///
/// [`Settings::default`] is an empty file: every key has its default, and no port is
/// watched. `Display` writes a file that reads back as the same value, if no text
/// contains characters that a file cannot (a double quote, a line break or another
/// control character), no network has bits after its prefix, and durations are whole
/// seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// `TCP_PORTS`: TCP ports to watch.
    pub tcp_ports: PortList,
    /// `UDP_PORTS`: UDP ports to watch.
    pub udp_ports: PortList,
    /// `SERVED_GRACE`: time for which a port counts as served after its service has ended,
    /// in whole seconds; zero for none.
    pub served_grace: Duration,
    /// `PORT_BANNER`: text that connect mode sends to each client.
    pub port_banner: Option<String>,
    /// `IGNORE_FILE`: path of the list of hosts and networks to ignore.
    pub ignore_file: Option<String>,
    /// `SCAN_TRIGGER`: number of the probe from one host that triggers a response. 0 and
    /// 1 both mean the first.
    pub scan_trigger: u16,
    /// `BLOCK_TCP`: response to a TCP probe.
    pub block_tcp: BlockMode,
    /// `BLOCK_UDP`: response to a UDP probe.
    pub block_udp: BlockMode,
    /// `KILL_ROUTE`: shell command that blocks a host.
    pub kill_route: Option<Template>,
    /// `KILL_HOSTS_DENY`: line for [`hosts_deny_file`](Self::hosts_deny_file).
    pub kill_hosts_deny: Option<Template>,
    /// `HOSTS_DENY_FILE`: path of the file to which `KILL_HOSTS_DENY` is added.
    pub hosts_deny_file: String,
    /// `KILL_RUN_CMD`: shell command to run in addition to blocking.
    pub kill_run_cmd: Option<Template>,
    /// `KILL_RUN_CMD_FIRST`: whether that command runs before blocking.
    pub kill_run_cmd_first: bool,
    /// `RESPONSE_TIMEOUT`: time limit of each action of a response, in whole seconds.
    pub response_timeout: Duration,
    /// `BLOCKED_FILE`: path of the file that stores blocked hosts.
    pub blocked_file: Option<String>,
    /// `NEVER_BLOCK`: networks without a response. `None` if the file does not set it:
    /// then the addresses of this host, its gateways and its name servers. An empty list
    /// means no network.
    pub never_block: Option<Vec<IpNet>>,
    /// `BLOCK_RATE`: maximum number of new hosts per minute that cause a response; 0 for
    /// no limit.
    pub block_rate: u32,
    /// `HISTORY_FILE`: path of the file to which each probe is appended.
    pub history_file: Option<String>,
    /// `RESOLVE_HOST`: whether to look up host names.
    pub resolve_host: bool,
    /// `CAPTURE_BUFFER`: capture buffer per interface, in MiB; `None` for the default of
    /// the sensor.
    pub capture_buffer: Option<u32>,
    /// `CAPTURE_LATENCY`: longest time that a packet waits to be read, in milliseconds;
    /// `None` for the default of the sensor.
    pub capture_latency: Option<u32>,
    /// `CAPTURE_RINGS`: number of rings per interface, each read by its own thread.
    pub capture_rings: u16,
    /// `RUN_AS`: user of the packet process.
    pub run_as: Option<String>,
    /// `SANDBOX`: whether the packet process drops all rights that it does not use.
    pub sandbox: bool,
}

/// The response to a probe of one protocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockMode {
    /// `0`: log only.
    #[default]
    Log,
    /// `1`: block the host, and run the command if one is set.
    Block,
    /// `2`: run the command only.
    Command,
}

impl Settings {
    /// Returns the settings for a host without a configuration file: log only, on ports whose
    /// services are rarely used today and that scanners still probe.
    ///
    /// It contains no UDP port that stray broadcasts reach (7 and 9 wake machines, 513
    /// is rwho), and no UDP port above 1023, to which late replies to the queries of this
    /// host go.
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
}
