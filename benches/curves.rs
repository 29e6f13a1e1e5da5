//! What a packet costs as sources, hosts, networks and ports grow, as a table, and
//! as a picture in the file that the first argument names.

use std::process::ExitCode;

use portsentry_benches::{BATCH, Curve, Load, Times, Workload, curves};

/// What grows, to which sizes, and what is measured then.
type Growth = (&'static str, &'static [u32], fn(u32) -> Workload);

const GROWTHS: [Growth; 4] = [
    ("sources", &[1_000, 10_000, 100_000, 1_000_000, 10_000_000], Workload::of_sources),
    ("blocked hosts", &[10, 100, 1_000, 10_000, 100_000, 1_000_000], Workload::of_blocked_hosts),
    ("ignored networks", &[10, 100, 1_000, 10_000, 100_000], Workload::of_ignored_networks),
    ("monitored ports", &[1, 10, 100, 1_000, 10_000, 65_535], |ports| {
        Workload::of_ports(u16::try_from(ports).unwrap_or(u16::MAX))
    }),
];

fn main() -> ExitCode {
    let Some(path) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
        eprintln!("name the file for the picture");
        return ExitCode::from(2);
    };
    Times::print_heading();
    let measured = GROWTHS.map(|(name, sizes, workload)| {
        let measure = |size: &u32| {
            let mut load = workload(*size).start();
            let process = |load: &mut Load| {
                load.process();
            };
            let times = Times::of(BATCH, &mut load, Load::receive, process);
            times.print(&format!("{size} {name}"));
            (*size, times.median)
        };
        Curve { name, points: sizes.iter().map(measure).collect() }
    });
    match std::fs::write(&path, curves(&measured)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{path}: {error}");
            ExitCode::FAILURE
        }
    }
}
