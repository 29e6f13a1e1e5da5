//! The engine alone: observations in; verdicts, effects and events out.
//!
//! This program captures nothing and blocks nothing. Two hosts probe, one of them
//! three times; the trigger is two. The program sets the time, as a test would.

use std::net::Ipv4Addr;

use portsentry_core::{
    Effect, Engine, HashKey, Instant, IpOptions, Limits, Observation, Outcome, Policy, TcpFlags,
    Timestamp,
};
use portsentry_report::EventLine;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let policy = Policy {
        tcp_ports: [23, 3389].into_iter().collect(),
        ignore: "203.0.113.0/24".parse()?,
        scan_trigger: 2,
        block_tcp: true,
        remember_blocked: true,
        ..Policy::default()
    };
    let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));

    let probes = [
        ("192.0.2.7", 23),
        ("203.0.113.9", 23),
        ("192.0.2.7", 80),
        ("192.0.2.7", 3389),
        ("192.0.2.7", 23),
    ];
    for (second, (source, port)) in (1..).zip(probes) {
        let now = Instant::from_secs(second);
        let verdict = engine.observe(&syn(source.parse()?, port, second), now);
        println!(
            "{second} s: {source} to port {port}: {:?}, {:?}",
            verdict.decision, verdict.reason
        );

        // The response ends immediately here. It may also take minutes, on another
        // thread: the engine continues with other hosts.
        while let Some(effect) = engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                println!("     respond to {}", response.probe.source);
                engine.handle_outcome(response.id, Outcome::Succeeded, now);
            }
        }
        while let Some(event) = engine.poll_event() {
            println!("     {}", EventLine::new(&event));
        }
    }
    Ok(())
}

/// A SYN as it comes off the wire.
fn syn(source: std::net::IpAddr, port: u16, second: u64) -> Observation {
    let target = (Ipv4Addr::new(198, 51, 100, 1), port);
    Observation::segment((source, 40_000).into(), target.into(), TcpFlags::SYN)
        .at(Instant::from_secs(second))
        .stamped(Timestamp::from_seconds_micros(second as i64, 0))
        .with_ip_options(IpOptions::Absent)
        .with_ttl(52)
}
