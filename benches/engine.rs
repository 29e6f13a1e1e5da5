//! Measures the cost of a packet from its bytes to its event, in nanoseconds.

use portsentry_benches::{BATCH, Load, Times, Workload, is_wanted};

fn main() {
    Times::print_heading();
    for workload in Workload::ALL.iter().filter(|workload| is_wanted(workload.name)) {
        let process = |load: &mut Load| {
            load.process();
        };
        Times::of(BATCH, &mut workload.start(), Load::receive, process).print(workload.name);
    }
}
