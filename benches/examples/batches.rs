//! Processes a given number of batches of a workload and exits.
//! `scripts/count-instructions` runs it under callgrind.
//!
//! `batches` lists the packets per batch and the name of each workload;
//! `batches NAME COUNT` processes `COUNT` batches.

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
                eprintln!("unknown workload, or COUNT is not a number");
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

/// Callgrind counts this function only, and finds it by its name.
#[inline(never)]
fn measured(load: &mut Load) {
    black_box(load).process();
}
