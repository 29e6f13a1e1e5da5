//! Measures the cost of a packet as the numbers of sources, hosts, networks and ports
//! grow. Prints a table, and draws a picture into the file that the first argument names.
//!
//! Every size is measured in several rounds, and the round with the lowest median counts:
//! another program that slows the machine down for a while would bend a curve.

use std::process::ExitCode;

use portsentry_benches::{BATCH, Curve, Load, Times, Workload, curves};

/// Name of the number that grows, its values, and the workload for a value.
type Growth = (&'static str, &'static [u32], fn(u32) -> Workload);

const GROWTHS: [Growth; 4] = [
    ("sources", &[1_000, 10_000, 100_000, 1_000_000, 10_000_000], Workload::of_sources),
    ("blocked hosts", &[10, 100, 1_000, 10_000, 100_000, 1_000_000], Workload::of_blocked_hosts),
    ("ignored networks", &[10, 100, 1_000, 10_000, 100_000], Workload::of_ignored_networks),
    ("monitored ports", &[1, 10, 100, 1_000, 10_000, 65_535], |ports| {
        Workload::of_ports(u16::try_from(ports).unwrap_or(u16::MAX))
    }),
];

const ROUNDS: usize = 7;

fn main() -> ExitCode {
    let Some(path) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
        eprintln!("missing argument: the file for the picture");
        return ExitCode::from(2);
    };
    let mut best = GROWTHS.map(|(_, sizes, _)| vec![None::<Times>; sizes.len()]);
    for _ in 0..ROUNDS {
        for ((_, sizes, workload), best) in GROWTHS.iter().zip(&mut best) {
            for (size, best) in sizes.iter().zip(best) {
                let times = measure(workload(*size));
                if best.is_none_or(|best| times.median < best.median) {
                    *best = Some(times);
                }
            }
        }
    }
    Times::print_heading();
    let mut measured = Vec::new();
    for ((name, sizes, _), best) in GROWTHS.iter().zip(best) {
        let mut points = Vec::new();
        for (size, times) in sizes.iter().zip(best.into_iter().flatten()) {
            times.print(&format!("{size} {name}"));
            points.push((*size, times.median));
        }
        measured.push(Curve { name, points });
    }
    match std::fs::write(&path, curves(&measured)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(workload: Workload) -> Times {
    let mut load = workload.start();
    let process = |load: &mut Load| {
        load.process();
    };
    Times::of(BATCH, &mut load, Load::receive, process)
}
