//! A report of the probes in capture files: sources, kinds of scan, ports and times.
//!
//! Usage: `capture_report [--json] FILE...`. A sensor makes observations, the engine
//! decides which of them are probes, and this program evaluates the events.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::ExitCode;

use jiff::Timestamp;
use portsentry_capture::{CaptureFile, Drained, Sensor, SensorError};
use portsentry_core::{Engine, Event, HashKey, Limits, Policy, PortSet, Probe};
use serde::Serialize;

/// The probes of one source.
#[derive(Serialize)]
struct Source {
    source: IpAddr,
    probes: u64,
    kinds: BTreeMap<String, u64>,
    ports: BTreeSet<u16>,
    targets: BTreeSet<IpAddr>,
    first_seen: Timestamp,
    last_seen: Timestamp,
}

fn main() -> ExitCode {
    let (options, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|word| word.starts_with('-'));
    let json = options == ["--json"];
    if files.is_empty() || !(json || options.is_empty()) {
        eprintln!("usage: capture_report [--json] FILE...");
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
    if json {
        print_json(&sources);
    } else {
        print_table(&sources);
    }
    status
}

fn read(file: &str, sources: &mut BTreeMap<IpAddr, Source>) -> Result<(), SensorError> {
    let every_port: PortSet = PortSet::all();
    let policy =
        Policy { tcp_ports: every_port.clone(), udp_ports: every_port, ..Policy::default() };
    let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));
    let mut sensor = CaptureFile::open(file)?;
    loop {
        // The time is that of the packets. Nothing here responds or expires, so no
        // call of `handle_timeout` is necessary.
        let drained = sensor.drain(1024, &mut |observation| {
            engine.observe(observation, observation.at);
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

fn note(sources: &mut BTreeMap<IpAddr, Source>, probe: &Probe) {
    let observation = &probe.observation;
    // Nanoseconds in 64 bits end in the year 2262, jiff's time long after.
    let time = Timestamp::from_nanosecond(observation.time.as_nanos().into()).unwrap_or_default();
    let source = sources.entry(observation.source).or_insert_with(|| Source {
        source: observation.source,
        probes: 0,
        kinds: BTreeMap::new(),
        ports: BTreeSet::new(),
        targets: BTreeSet::new(),
        first_seen: time,
        last_seen: time,
    });
    source.probes += 1;
    *source.kinds.entry(observation.kind().to_string()).or_default() += 1;
    source.ports.insert(observation.target_port);
    source.targets.insert(observation.target);
    source.first_seen = source.first_seen.min(time);
    source.last_seen = source.last_seen.max(time);
}

fn print_table(sources: &BTreeMap<IpAddr, Source>) {
    println!(
        "{:<39} {:>7} {:>6} {:>7} {:<20} {:<20} kinds",
        "source", "probes", "ports", "targets", "first seen", "last seen"
    );
    for source in sources.values() {
        let kinds: Vec<String> =
            source.kinds.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        println!(
            "{:<39} {:>7} {:>6} {:>7} {:<20.0} {:<20.0} {}",
            source.source.to_string(),
            source.probes,
            source.ports.len(),
            source.targets.len(),
            source.first_seen,
            source.last_seen,
            kinds.join(", ")
        );
    }
}

fn print_json(sources: &BTreeMap<IpAddr, Source>) {
    let sources: Vec<&Source> = sources.values().collect();
    match serde_json::to_string_pretty(&sources) {
        Ok(text) => println!("{text}"),
        Err(error) => eprintln!("cannot write JSON: {error}"),
    }
}
