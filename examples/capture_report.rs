//! Who probed what in capture files: one line for each source.
//!
//! The whole of embedding in one page: a sensor hands out observations, the
//! engine decides which of them are probes, and what is made of its events is
//! this program's own affair.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::ExitCode;

use portsentry_capture::{CaptureFile, Drained, Sensor, SensorError};
use portsentry_core::{Engine, Event, HashKey, Instant, Limits, Policy, PortSet, Timestamp};

/// What one source did.
struct Source {
    kinds: BTreeMap<String, u64>,
    ports: BTreeSet<u16>,
    targets: BTreeSet<IpAddr>,
    first: Timestamp,
    last: Timestamp,
}

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    if files.is_empty() {
        eprintln!("usage: capture_report FILE...");
        return ExitCode::from(2);
    }
    let mut sources = BTreeMap::new();
    let mut status = ExitCode::SUCCESS;
    for file in files {
        if let Err(error) = read(&file, &mut sources) {
            eprintln!("{error}");
            status = ExitCode::FAILURE;
        }
    }
    println!("{:<39} {:>7} {:>7} {:>9}  kinds", "source", "ports", "targets", "seconds");
    for (address, source) in &sources {
        let seconds = (source.last.as_nanos() - source.first.as_nanos()) as f64 / 1e9;
        let kinds: Vec<String> =
            source.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        println!(
            "{:<39} {:>7} {:>7} {seconds:>9.3}  {}",
            address.to_string(),
            source.ports.len(),
            source.targets.len(),
            kinds.join(", ")
        );
    }
    status
}

fn read(file: &str, sources: &mut BTreeMap<IpAddr, Source>) -> Result<(), SensorError> {
    let every_port: PortSet = (1..=u16::MAX).collect();
    let policy =
        Policy { tcp_ports: every_port.clone(), udp_ports: every_port, ..Policy::default() };
    let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));
    let mut sensor = CaptureFile::open(file)?;
    loop {
        // Nothing here responds, so the engine's clock has nothing to say.
        let drained = sensor.drain(1024, &mut |observation| {
            engine.observe(observation, Instant::default());
        });
        while let Some(event) = engine.poll_event() {
            if let Event::Probe(probe) = event {
                note(sources, &probe);
            }
        }
        if drained? == Drained::End {
            return Ok(());
        }
    }
}

fn note(sources: &mut BTreeMap<IpAddr, Source>, probe: &portsentry_core::Probe) {
    let observation = &probe.observation;
    let source = sources.entry(observation.source).or_insert_with(|| Source {
        kinds: BTreeMap::new(),
        ports: BTreeSet::new(),
        targets: BTreeSet::new(),
        first: observation.time,
        last: observation.time,
    });
    *source.kinds.entry(observation.kind().to_string()).or_default() += 1;
    source.ports.insert(observation.target_port);
    source.targets.insert(observation.target);
    source.first = source.first.min(observation.time);
    source.last = source.last.max(observation.time);
}
