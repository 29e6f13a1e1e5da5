//! The loop of an embedder, with its own sensor, policy and limits.

use std::error::Error;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use portsentry_capture::{Drained, Sensor, SensorError, SensorStats};
use portsentry_core::{
    Effect, Engine, HashKey, Instant, IpOptions, Limits, Observation, Outcome, Policy, TcpFlags,
    TcpSegment, Timestamp,
};

use crate::matches;

/// Returns one observation per call of `drain`.
struct List(Vec<Observation>);

impl Sensor for List {
    fn name(&self) -> &str {
        "list"
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn drain(
        &mut self,
        _budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        if self.0.is_empty() {
            return Ok(Drained::End);
        }
        sink(&self.0.remove(0));
        Ok(Drained::More)
    }

    fn stats(&mut self) -> SensorStats {
        SensorStats::default()
    }
}

/// One observation of each constructor, from one source.
fn observations() -> Result<Vec<Observation>, Box<dyn Error>> {
    let source: SocketAddr = "192.0.2.7:40000".parse()?;
    let telnet: SocketAddr = "198.51.100.1:23".parse()?;
    let segment = TcpSegment::new(TcpFlags::SYN).with_window(1024).with_sequence(7);
    let mut raw = Observation::segment(source, telnet, TcpFlags::SYN)
        .at(Instant::from_secs(1))
        .stamped(Timestamp::from_nanos(1_700_000_000_000_000_000))
        .on(2)
        .with_ip_options(IpOptions::Absent);
    raw.ttl = Some(52);
    let full = Observation::new(source, telnet, portsentry_core::Evidence::Segment(segment));
    let bound = Observation::connection(source, telnet).at(Instant::from_secs(3));
    let udp = Observation::datagram(source, telnet).at(Instant::from_secs(4));
    let message = Observation::message(source, telnet).at(Instant::from_secs(4));
    Ok(vec![raw, full.at(Instant::from_secs(2)), bound, udp, message])
}

/// The reason of each verdict about a TCP observation.
///
/// # Errors
///
/// When the sensor fails.
pub fn decide() -> Result<Vec<&'static str>, Box<dyn Error>> {
    let policy = Policy {
        tcp_ports: [23].into_iter().collect(),
        scan_trigger: 2,
        block_tcp: true,
        remember_blocked: true,
        ..Policy::default()
    };
    let mut limits = Limits::default();
    limits.blocked = 1000;
    let mut engine = Engine::new(policy, &limits, HashKey::new(1));
    let mut sensor = List(observations()?);
    let mut reasons = Vec::new();
    let mut now = Instant::from_secs(0);
    while sensor.drain(1, &mut |observation| {
        now = observation.at;
        let verdict = engine.observe(observation, now);
        if observation.protocol() == portsentry_core::Protocol::Tcp {
            reasons.push(matches::reason(verdict.reason));
        }
    })? != Drained::End
    {}
    while let Some(effect) = engine.poll_effect() {
        if let Effect::Respond(response) = effect {
            engine.handle_outcome(response.id, Outcome::Succeeded, now);
        }
    }
    let mut events = 0;
    while let Some(event) = engine.poll_event() {
        assert_eq!(matches::event(&event), "probe");
        events += 1;
    }
    assert_eq!(events, 3);
    Ok(reasons)
}
