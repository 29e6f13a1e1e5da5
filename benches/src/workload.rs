//! The packet path without its ends: frames come from memory, events are discarded.
//!
//! A [`Workload`] is a row of the tables in `docs/performance.md`: the traffic, and the
//! tables that the engine searches for each packet.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use portsentry_capture::{LinkType, decode};
use portsentry_core::{
    Engine, HashKey, Instant, Limits, NetworkSet, Observation, Policy, PortSet, Protocol,
    ServedPorts, Timestamp,
};

use crate::Scan;
use crate::traffic::{Form, scattered};

/// Number of packets between two deliveries of events.
pub const BATCH: usize = 1024;

/// Number of observations that are decided about together.
const HELD: usize = 64;

/// Bytes of the longest frame of any [`Form`].
const SLOT: usize = 96;

/// Traffic and tables of a measurement.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Name in the tables.
    pub name: &'static str,
    form: Form,
    sources: u32,
    scan_trigger: u16,
    ignored_networks: u32,
    blocked_hosts: u32,
    served_sockets: u16,
    ports: Ports,
}

/// Ports that are monitored, and probed at random.
#[derive(Clone, Copy, Debug)]
enum Ports {
    /// The ports from 1 to this one.
    UpTo(u16),
    /// The first `n` odd ports.
    Odd(u16),
}

/// Logs every probe from a thousand sources, without counting or blocking.
const LOG_ONLY: Workload = Workload {
    name: "log only",
    form: Form::Ipv4Syn,
    sources: 1_000,
    scan_trigger: 0,
    ignored_networks: 0,
    blocked_hosts: 0,
    served_sockets: 0,
    ports: Ports::UpTo(u16::MAX),
};

/// Searches the counters, the ignored networks and the blocked hosts for each packet.
const EVERYTHING: Workload = Workload {
    name: "everything at once",
    sources: 1_000_000,
    scan_trigger: 2,
    ignored_networks: 100_000,
    blocked_hosts: 1_000_000,
    ..LOG_ONLY
};

/// Counts probes and never reaches the trigger.
const COUNTING: Workload = Workload { scan_trigger: u16::MAX, ..LOG_ONLY };

impl Workload {
    /// All rows.
    pub const ALL: [Self; 17] = [
        LOG_ONLY,
        Self { name: "counting, 1 source", sources: 1, ..COUNTING },
        Self { name: "counting, 1,000 sources", ..COUNTING },
        Self { name: "counting, 100,000 sources", sources: 100_000, ..COUNTING },
        Self { name: "counting, 1,000,000 sources", sources: 1_000_000, ..COUNTING },
        Self { name: "counting, 1,000 IPv6 sources", form: Form::Ipv6Syn, ..COUNTING },
        Self {
            name: "counting, 100,000 IPv6 sources",
            form: Form::Ipv6Syn,
            sources: 100_000,
            ..COUNTING
        },
        Self { name: "log only, 1,000,000 sources", sources: 1_000_000, ..LOG_ONLY },
        Self {
            name: "log only, 100,000 networks ignored",
            sources: 1_000_000,
            ignored_networks: 100_000,
            ..LOG_ONLY
        },
        Self {
            name: "1,000,000 hosts blocked",
            sources: 1_000_000,
            blocked_hosts: 1_000_000,
            ..LOG_ONLY
        },
        EVERYTHING,
        Self {
            name: "everything at once, small",
            sources: 1_000,
            ignored_networks: 1_000,
            blocked_hosts: 1_000,
            ..EVERYTHING
        },
        Self { name: "log only, 250 ports served", served_sockets: 250, ..LOG_ONLY },
        Self { name: "log only, 1 port monitored", ports: Ports::Odd(1), ..LOG_ONLY },
        Self { name: "log only, 500 odd ports monitored", ports: Ports::Odd(500), ..LOG_ONLY },
        Self { name: "log only, 5,000 odd ports monitored", ports: Ports::Odd(5_000), ..LOG_ONLY },
        Self {
            name: "log only, 32,768 odd ports monitored",
            ports: Ports::Odd(32_768),
            ..LOG_ONLY
        },
    ];

    /// Counts the probes of `sources` sources, at most 2^24.
    #[must_use]
    pub const fn of_sources(sources: u32) -> Self {
        Self { sources, ..COUNTING }
    }

    /// Finds each source among `blocked_hosts` blocked hosts.
    #[must_use]
    pub const fn of_blocked_hosts(blocked_hosts: u32) -> Self {
        Self { sources: blocked_hosts, blocked_hosts, ..LOG_ONLY }
    }

    /// Searches `ignored_networks` ignored networks for a million sources.
    #[must_use]
    pub const fn of_ignored_networks(ignored_networks: u32) -> Self {
        Self { sources: 1_000_000, ignored_networks, ..LOG_ONLY }
    }

    /// Decides about probes of the monitored ports 1 to `last_port`.
    #[must_use]
    pub const fn of_ports(last_port: u16) -> Self {
        Self { ports: Ports::UpTo(last_port), ..LOG_ONLY }
    }

    /// Returns whether the workload starts quickly without optimization: few sources and hosts.
    #[must_use]
    pub const fn is_small(&self) -> bool {
        self.sources <= 1_000 && self.blocked_hosts <= 1_000
    }

    /// Returns the load, warm: every table has its final size, and every source was seen.
    #[must_use]
    pub fn start(&self) -> Load {
        let mut engine = Engine::new(self.policy(), &Limits::default(), HashKey::new(0));
        engine.restore_blocked((0..self.blocked_hosts).map(ipv4_source));
        engine.set_served_ports(self.served_ports());
        let mut load = Load {
            engine,
            scan: self.scan(),
            frames: vec![[0; SLOT]; BATCH],
            length: 0,
            held: Vec::with_capacity(HELD),
            now: Instant::from_secs(1_000),
        };
        // Enough batches for nearly every source, or for every slot of the tables.
        for _ in 0..(4 * self.sources.min(3_000_000) as usize).div_ceil(BATCH).max(16) {
            load.receive();
            load.process();
        }
        load
    }

    fn scan(&self) -> Scan {
        let scan = Scan::new(self.form, self.sources, 1);
        match self.ports {
            Ports::UpTo(last) => scan.of_ports(last),
            Ports::Odd(number) => scan.to_odd_ports(number),
        }
    }

    fn policy(&self) -> Policy {
        let mut ports = PortSet::new();
        match self.ports {
            Ports::UpTo(last) => ports.insert_range(1..=last),
            Ports::Odd(number) => ports.extend((0..number).map(|it| 2 * it + 1)),
        }
        Policy {
            tcp_ports: ports.clone(),
            udp_ports: ports,
            ignore: self.ignored(),
            scan_trigger: self.scan_trigger,
            block_tcp: self.blocked_hosts > 0,
            remember_blocked: true,
            ..Policy::default()
        }
    }

    /// Returns networks of four addresses, spread evenly over the network of the sources,
    /// so that few sources are ignored.
    fn ignored(&self) -> NetworkSet {
        let distance = (1 << 24) / self.ignored_networks.max(1);
        (0..self.ignored_networks)
            .map(|number| Ipv4Addr::from_bits(0x0a00_0000 | (number * distance)))
            .filter_map(|address| Ipv4Net::new(address, 30).ok().map(IpNet::V4))
            .collect()
    }

    /// Binds every second socket to the scanned address and the others to any address. All
    /// have ports that are rarely probed.
    fn served_ports(&self) -> ServedPorts {
        let addresses = [Ipv4Addr::UNSPECIFIED, Ipv4Addr::new(192, 0, 2, 1)];
        let sockets = (0..self.served_sockets).map(|number| {
            let address = addresses[usize::from(number % 2)];
            (Protocol::Tcp, address.into(), 1 + 200 * number, false)
        });
        ServedPorts::new(sockets)
    }
}

/// Returns the IPv4 source of this number in a [`Scan`].
fn ipv4_source(number: u32) -> IpAddr {
    let [a, b, c] = scattered(number);
    Ipv4Addr::new(10, a, b, c).into()
}

/// A workload in progress.
#[derive(Debug)]
pub struct Load {
    engine: Engine,
    scan: Scan,
    frames: Vec<[u8; SLOT]>,
    /// Length of each frame, in bytes.
    length: usize,
    held: Vec<Observation>,
    now: Instant,
}

impl Load {
    /// Puts the next [`BATCH`] frames in place, as a kernel does. Do not measure this call.
    pub fn receive(&mut self) {
        for (slot, frame) in self.frames.iter_mut().zip(&mut self.scan) {
            self.length = frame.len();
            slot[..frame.len()].copy_from_slice(&frame);
        }
        self.now = self.now.after(Duration::from_micros(100));
    }

    /// Decodes the batch, decides about each packet, takes out the events and returns
    /// their number.
    pub fn process(&mut self) -> usize {
        let time = Timestamp::from_nanos(0);
        for frames in self.frames.chunks(HELD) {
            self.held.clear();
            for frame in frames {
                if let Ok(packet) = decode(LinkType::Ethernet, &frame[..self.length]) {
                    self.held.push(packet.observation(time, 2).at(self.now));
                }
            }
            self.engine.observe_batch(&self.held, self.now);
        }
        let mut events = 0;
        while let Some(event) = self.engine.poll_event() {
            black_box(&event);
            events += 1;
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_packet_of_every_workload_produces_an_event() {
        for workload in Workload::ALL {
            // Fewer sources and hosts keep the test quick.
            let blocked_hosts = workload.blocked_hosts.min(5_000);
            let sources = workload.sources.min(5_000);
            let mut load = Workload { sources, blocked_hosts, ..workload }.start();
            load.receive();
            let expected = BATCH - usize::from(workload.served_sockets > 0);
            assert!(
                (expected.saturating_sub(20)..=BATCH).contains(&load.process()),
                "{workload:?}"
            );
        }
    }
}
