//! What a packet costs from its bytes to its event, in nanoseconds.

use portsentry_benches::{BATCH, Load, Workload, is_wanted, print_heading, print_row};

fn main() {
    print_heading();
    for workload in Workload::ALL.iter().filter(|workload| is_wanted(workload.name)) {
        let process = |load: &mut Load| {
            load.process();
        };
        print_row(workload.name, BATCH, &mut workload.start(), Load::receive, process);
    }
}
