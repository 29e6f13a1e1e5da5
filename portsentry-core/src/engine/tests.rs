//! Scenarios with a simulated clock.

mod bounds;
mod decisions;
mod hosts;
mod line;
mod lookup_cache;
mod partial;
mod prevented;
mod responses;
mod served;
mod shares;

use core::net::SocketAddr;
use core::time::Duration;
use std::format;
use std::string::{String, ToString};
use std::vec;
use std::vec::Vec;

use super::*;
use crate::{Evidence, IpOptions, PortSet, Probe, Protocol, ServedPorts, TcpFlags};

/// An engine with a clock that only the test advances.
struct Scenario {
    engine: Engine,
    now: Instant,
}

/// Returns a policy that watches and logs TCP and UDP ports 1 to 100.
fn watching() -> Policy {
    Policy { tcp_ports: (1..=100).collect(), udp_ports: (1..=100).collect(), ..Policy::default() }
}

/// Returns a policy that blocks both protocols and remembers blocked hosts.
fn blocking() -> Policy {
    Policy { block_tcp: true, block_udp: true, remember_blocked: true, ..watching() }
}

fn probe_from(source: &str, port: u16) -> Observation {
    with_flags(source, port, TcpFlags::SYN)
}

fn with_flags(source: &str, port: u16, flags: TcpFlags) -> Observation {
    let source = SocketAddr::new(source.parse().unwrap(), 40_000);
    Observation::segment(source, SocketAddr::new([198, 51, 100, 1].into(), port), flags)
        .on(1)
        .with_ip_options(IpOptions::Absent)
}

fn datagram_from(source: &str, port: u16) -> Observation {
    Observation { evidence: Evidence::Datagram, ..probe_from(source, port) }
}

impl Scenario {
    fn new(policy: Policy) -> Self {
        Self::with_limits(policy, &Limits::default())
    }

    fn with_limits(policy: Policy, limits: &Limits) -> Self {
        let engine = Engine::new(policy, limits, HashKey::new(7));
        Self { engine, now: Instant::from_secs(1_000) }
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn observe(&mut self, observation: &Observation) -> Reason {
        self.engine.observe(&observation.at(self.now), self.now).reason
    }

    fn probe(&mut self, source: &str, port: u16) -> Reason {
        self.observe(&probe_from(source, port))
    }

    /// Takes the next effect, which must be a response.
    fn response(&mut self) -> Response {
        match self.engine.poll_effect() {
            Some(Effect::Respond(response)) => response,
            None => panic!("no response was requested"),
        }
    }

    fn end(&mut self, response: Response, outcome: Outcome) {
        self.engine.handle_outcome(response.id, outcome, self.now);
    }

    /// Returns the lines of all queued events.
    fn lines(&mut self) -> Vec<String> {
        core::iter::from_fn(|| self.engine.poll_event()).map(|event| line::of(&event)).collect()
    }

    /// Returns source, port and reason of all queued probes. Drops other events.
    fn reasons(&mut self) -> Vec<(String, u16, Reason)> {
        core::iter::from_fn(|| self.engine.poll_event())
            .filter_map(|event| match event {
                Event::Probe(Probe { observation, reason }) => {
                    Some((observation.source.to_string(), observation.target_port, reason))
                }
                _ => None,
            })
            .collect()
    }
}

/// Asserts that `observation` has this line under `policy`, or none.
#[track_caller]
fn check_line(policy: Policy, observation: &Observation, expected: Option<&str>) {
    let mut scenario = Scenario::new(policy);
    scenario.observe(observation);
    let expected: Vec<String> = expected.map(String::from).into_iter().collect();
    assert_eq!(scenario.lines(), expected);
}

fn tail(ignored: &str, triggered: &str, noblock: &str, blocked: &str) -> String {
    format!(
        "ignored: [{ignored}] triggered: [{triggered}] noblock: [{noblock}] blocked: [{blocked}]"
    )
}
