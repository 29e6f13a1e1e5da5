//! Processes so many batches of a workload and ends: what
//! `scripts/count-instructions` runs under callgrind.
//!
//! `batches` lists the workloads, and the number of packets in a batch;
//! `batches NAME COUNT` runs.

use std::hint::black_box;
use std::process::ExitCode;

use portsentry_benches::{BATCH, Load, Workload};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [] => {
            for workload in Workload::ALL {
                println!("{BATCH} {}", workload.name);
            }
            ExitCode::SUCCESS
        }
        [name, count] => {
            let workload = Workload::ALL.iter().find(|workload| workload.name == name);
            let (Some(workload), Ok(count)) = (workload, count.parse::<u32>()) else {
                eprintln!("no such workload, or not a number");
                return ExitCode::from(2);
            };
            let mut load = workload.start();
            for _ in 0..count {
                load.receive();
                measured(&mut load);
            }
            ExitCode::SUCCESS
        }
        _ => ExitCode::from(2),
    }
}

/// Nothing else is counted, and it is looked for by its name.
#[inline(never)]
fn measured(load: &mut Load) {
    black_box(load).process();
}
