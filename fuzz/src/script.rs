//! The life of an engine, decoded from any bytes.
//!
//! Eight bytes choose limits and rules, each further six bytes one operation. All choices
//! are small, so that random bytes meet: a dozen hosts, eight ports, and waits close to the
//! engine's own times.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;
use portsentry_core::{
    Evidence, Limits, NetworkSet, Observation, Outcome, Policy, PortSet, PreventionScope, Protocol,
    ServedPorts, TcpFlags, TcpSegment, Timestamp,
};

/// Addresses of hosts that probe. The last two are the targets.
const HOSTS: [&str; 12] = [
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.3",
    "203.0.113.1",
    "203.0.113.130",
    "203.0.113.200",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8:0:1::1",
    "2001:db8:0:2::1",
    "198.51.100.1",
    "2001:db8:ffff::1",
];

/// Networks that are ignored or never blocked.
const NETWORKS: [&str; 4] =
    ["203.0.113.128/25", "2001:db8:0:1::/64", "192.0.2.2/32", "203.0.113.192/26"];

/// Addresses that sockets are bound to, and whether they take IPv6 only.
const BOUND: [(&str, bool); 4] =
    [("0.0.0.0", false), ("::", false), ("::", true), ("198.51.100.1", false)];

/// All inputs of an engine in its life.
#[derive(Clone, Debug)]
pub struct Script {
    /// Sizes of the engine's tables.
    pub limits: Limits,
    /// Rules at the start.
    pub rules: Rules,
    /// Hash key, which must not change any result.
    pub key: u8,
    /// Operations, in order.
    pub operations: Vec<Operation>,
}

/// A policy, on lists.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Monitored TCP ports.
    pub tcp_ports: Vec<u16>,
    /// Monitored UDP ports.
    pub udp_ports: Vec<u16>,
    /// The ignore list.
    pub ignore: Vec<IpNet>,
    /// Networks that are never blocked.
    pub never_block: Vec<IpNet>,
    /// As in [`Policy`].
    pub scan_trigger: u16,
    /// As in [`Policy`].
    pub trigger_window: Option<Duration>,
    /// As in [`Policy`].
    pub block_tcp: bool,
    /// As in [`Policy`].
    pub block_udp: bool,
    /// As in [`Policy`].
    pub remember_blocked: bool,
    /// As in [`Policy`].
    pub block_rate: u32,
    /// As in [`Policy`].
    pub respond_to_self: bool,
    /// As in [`Policy`].
    pub watch_served_ports: bool,
    /// As in [`Policy`].
    pub served_grace: Duration,
}

/// One call of the engine.
#[derive(Clone, Debug)]
pub enum Operation {
    /// Time passes, or, for `None`, a clock goes back by a second.
    Wait(Option<Duration>),
    /// A packet arrives.
    Observe(Observation),
    /// The next effect is taken out of the engine.
    TakeEffect,
    /// The response with this number, in the order of handing out, ends. It may have ended
    /// before.
    End(usize, Outcome),
    /// The response with this number is prevented, for as long as this.
    Prevent(usize, PreventionScope, Duration),
    /// The timeout is handled, due or not.
    HandleTimeout,
    /// The rules are replaced.
    SetRules(Rules),
    /// The served ports are replaced: protocol, address, port, IPv6 only.
    SetServed(Vec<(Protocol, IpAddr, u16, bool)>),
    /// A host from an earlier run is added to the blocked set.
    RestoreBlocked(IpAddr),
    /// A host is forgotten.
    Forget(IpAddr),
}

impl Script {
    /// Decodes the script in `bytes`.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Self {
        let (start, rest) = bytes.split_at(bytes.len().min(8));
        let mut header = [0; 8];
        header[..start.len()].copy_from_slice(start);
        let [bounds, window, key, rules @ ..] = header;
        // One bucket of counters, of the most that it can hold, or room for all: that is
        // the largest table as well.
        let rooms = [1 << 12, 4, 1 << 12, usize::MAX];
        let mut limits = Limits::default()
            .sources(rooms[usize::from(bounds & 1) | usize::from(key & 2)])
            .served_lines(if bounds & 2 == 0 { 1 << 12 } else { 4 });
        limits.blocked = match bounds >> 2 & 3 {
            0 => usize::MAX,
            more => 1 + usize::from(more) * 3,
        };
        limits.blocked_v6 = limits.blocked;
        limits.responses = [1, 2, 0, usize::MAX][usize::from(bounds >> 4 & 3)];
        limits.waiting = [0, 2, 4, usize::MAX][usize::from(bounds >> 6)];
        limits.failed = [0, 1, 2, usize::MAX][usize::from(window >> 4 & 3)];
        limits.response_timeout = [None, Some(3), Some(50), Some(u64::MAX)]
            [usize::from(window >> 6)]
        .map(Duration::from_secs);
        let operations = rest.chunks_exact(6).map(Operation::read).collect();
        Self { limits, rules: Rules::read(rules, window), key, operations }
    }

    /// Returns all hosts that occur in scripts.
    pub fn hosts() -> impl Iterator<Item = IpAddr> {
        HOSTS.iter().map(|host| parsed(host))
    }
}

impl Rules {
    fn read([tcp, udp, networks, trigger, switches]: [u8; 5], window: u8) -> Self {
        let ports = |mask: u8| (0..8).filter(|bit| mask >> bit & 1 == 1).collect();
        let chosen = |mask: u8| {
            let chosen = NETWORKS.iter().enumerate().filter(move |(bit, _)| mask >> bit & 1 == 1);
            chosen.map(|(_, network)| parsed(network)).collect()
        };
        Self {
            tcp_ports: ports(tcp),
            udp_ports: ports(udp),
            ignore: chosen(networks & 0x0f),
            never_block: chosen(networks >> 4),
            scan_trigger: u16::from(trigger & 7),
            trigger_window: (window & 1 == 1)
                .then(|| Duration::from_secs(1 + u64::from(window >> 1 & 7))),
            block_tcp: switches & 1 == 0,
            block_udp: switches & 2 == 0,
            remember_blocked: switches & 4 == 0,
            respond_to_self: switches & 8 != 0,
            watch_served_ports: switches & 16 != 0,
            served_grace: Duration::from_secs([0, 1, 5, 600][usize::from(trigger >> 3 & 3)]),
            block_rate: u32::from(switches >> 5),
        }
    }

    /// Returns the same rules as a policy of the engine.
    #[must_use]
    pub fn policy(&self) -> Policy {
        Policy {
            tcp_ports: self.tcp_ports.iter().copied().collect::<PortSet>(),
            udp_ports: self.udp_ports.iter().copied().collect::<PortSet>(),
            ignore: self.ignore.iter().copied().collect::<NetworkSet>(),
            never_block: self.never_block.iter().copied().collect::<NetworkSet>(),
            scan_trigger: self.scan_trigger,
            trigger_window: self.trigger_window,
            block_tcp: self.block_tcp,
            block_udp: self.block_udp,
            remember_blocked: self.remember_blocked,
            block_rate: self.block_rate,
            respond_to_self: self.respond_to_self,
            watch_served_ports: self.watch_served_ports,
            served_grace: self.served_grace,
        }
    }
}

impl Operation {
    /// Decodes six bytes. Half of all operations are packets.
    fn read(bytes: &[u8]) -> Self {
        let mut six = [0; 6];
        six.copy_from_slice(bytes);
        let [choice, a, operands @ ..] = six;
        match choice % 16 {
            0..8 => Self::Observe(observation(a, operands)),
            8 => Self::Wait((a % 16 != 15).then(|| wait(a))),
            9 | 10 => Self::TakeEffect,
            11 if a & 0x40 != 0 => Self::End(usize::from(a & 0x3f), Outcome::Partial),
            11 => Self::End(usize::from(a), Outcome::Succeeded),
            12 => Self::End(usize::from(a), Outcome::Failed),
            13 if a & 1 == 0 => Self::HandleTimeout,
            13 => {
                let scopes =
                    [PreventionScope::Port, PreventionScope::Host, PreventionScope::AllHosts];
                let scope = scopes[usize::from(operands[0] % 3)];
                Self::Prevent(usize::from(a >> 1), scope, wait(operands[1]))
            }
            14 if a & 3 == 0 => Self::RestoreBlocked(host(a >> 2)),
            14 if a & 3 == 2 => Self::Forget(host(a >> 2)),
            14 => Self::SetServed(sockets(operands)),
            _ => Self::SetRules(Rules::read(
                [a, operands[0], operands[1], operands[2], operands[3]],
                operands[2] >> 3,
            )),
        }
    }
}

/// Returns a wait close to a time of the engine: a second of a window or rate, the retries
/// after 5, 10 and 20 s, and the minute of summaries and rates.
fn wait(choice: u8) -> Duration {
    const MILLIS: [u64; 8] = [1, 300, 999, 1_000, 5_000, 19_999, 60_000, 4_000_000];
    Duration::from_millis(MILLIS[usize::from(choice % 8)])
}

fn host(choice: u8) -> IpAddr {
    parsed(HOSTS[usize::from(choice) % HOSTS.len()])
}

fn observation(source: u8, [target, port, kind, noise]: [u8; 4]) -> Observation {
    // Mostly SYN, because decisions about other flags end early.
    let flags = if kind & 1 == 0 { TcpFlags::SYN } else { TcpFlags::from_bits(noise.into()) };
    let evidence = match kind >> 1 & 7 {
        0..5 => Evidence::Segment(TcpSegment::new(flags)),
        5 => Evidence::Datagram,
        6 => Evidence::Connection,
        _ => Evidence::Message,
    };
    // Mostly one of the two targets, sometimes any host.
    let target = if target < 240 { host(10 + (target & 1)) } else { host(target) };
    let target = SocketAddr::new(target, u16::from(port % 9));
    let mut observation = Observation::new(SocketAddr::new(host(source), 40_000), target, evidence)
        .stamped(Timestamp::from_nanos(noise.into()))
        .on(1)
        .with_ttl(noise);
    // As a sensor may assign it: the same host in another form.
    if let (IpAddr::V4(source), 0) = (observation.source, noise & 3) {
        observation.source = source.to_ipv6_mapped().into();
    }
    if let (IpAddr::V4(target), 0) = (observation.target, noise & 12) {
        observation.target = target.to_ipv6_mapped().into();
    }
    observation
}

/// Returns up to four sockets.
fn sockets(choices: [u8; 4]) -> Vec<(Protocol, IpAddr, u16, bool)> {
    let bound = choices.into_iter().filter(|choice| choice & 0x80 == 0);
    bound
        .map(|choice| {
            let protocol = if choice & 0x40 == 0 { Protocol::Tcp } else { Protocol::Udp };
            let (address, v6_only) = BOUND[usize::from(choice >> 4 & 3)];
            (protocol, parsed(address), u16::from(choice % 9), v6_only)
        })
        .collect()
}

/// Parses a constant of this file.
fn parsed<T: std::str::FromStr>(text: &str) -> T {
    match text.parse() {
        Ok(value) => value,
        Err(_) => unreachable!("{text}"),
    }
}

/// Returns the same sockets as the served ports of the engine.
pub(crate) fn served_ports(sockets: &[(Protocol, IpAddr, u16, bool)]) -> ServedPorts {
    ServedPorts::new(sockets.iter().copied())
}
