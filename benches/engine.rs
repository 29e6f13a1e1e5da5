//! What a packet costs from its bytes to its event, in nanoseconds.
//!
//! Batches of packets are timed one by one, and the median is what counts: on a
//! shared machine a mean tells of the neighbours. What one batch in ten stays
//! below shows the machine when they are quiet. Arguments choose workloads by a
//! part of their name.

use std::time::Instant;

use portsentry_benches::{BATCH, Workload};

const BATCHES: usize = 2_000;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
    println!("{:<38} {:>8} {:>8} {:>8}", "ns per packet", "10 %", "median", "90 %");
    for workload in Workload::ALL {
        if wanted.is_empty() || wanted.iter().any(|part| workload.name.contains(part.as_str())) {
            let sorted = measure(&workload);
            let at = |percent| sorted[BATCHES * percent / 100];
            println!("{:<38} {:>8.1} {:>8.1} {:>8.1}", workload.name, at(10), at(50), at(90));
        }
    }
}

/// Nanoseconds per packet of each batch, ascending.
fn measure(workload: &Workload) -> Vec<f64> {
    let mut load = workload.start();
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            load.receive();
            let start = Instant::now();
            load.process();
            start.elapsed().as_nanos() as f64 / BATCH as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times
}
