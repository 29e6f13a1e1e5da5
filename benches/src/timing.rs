//! Times that can be compared on a shared machine.
//!
//! Batches are timed one by one, and the median counts: a mean includes the load of other
//! programs. The 10th percentile shows the machine without that load.

use std::time::Instant;

/// Number of batches that are timed.
const BATCHES: usize = 2_000;

/// Durations of batches, in nanoseconds per packet.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// The 10th percentile.
    pub quiet: f64,
    /// The 50th percentile.
    pub median: f64,
    /// The 90th percentile.
    pub busy: f64,
}

impl Times {
    /// Times `process` for batches of `packets` packets. `prepare` runs before each batch
    /// and is not timed.
    pub fn of<S: ?Sized>(
        packets: usize,
        state: &mut S,
        prepare: fn(&mut S),
        process: fn(&mut S),
    ) -> Self {
        Self::of_batches(BATCHES, packets, || {
            prepare(state);
            let start = Instant::now();
            process(state);
            start.elapsed().as_nanos()
        })
    }

    /// Computes the percentiles. `time` returns the nanoseconds of one batch of `packets`.
    pub fn of_batches(batches: usize, packets: usize, mut time: impl FnMut() -> u128) -> Self {
        let mut times: Vec<f64> =
            (0..batches.max(1)).map(|_| time() as f64 / packets as f64).collect();
        times.sort_by(f64::total_cmp);
        let at = |percent| times[times.len() * percent / 100];
        Self { quiet: at(10), median: at(50), busy: at(90) }
    }

    /// Prints the heading of a table of times for each packet.
    pub fn print_heading() {
        Self::print_heading_of("ns per packet");
    }

    /// Prints the heading of a table of times in another unit, such as `"ns per line"`.
    pub fn print_heading_of(unit: &str) {
        println!("{unit:<38} {:>8} {:>8} {:>8}", "10 %", "median", "90 %");
    }

    /// Prints a row.
    pub fn print(&self, name: &str) {
        let Self { quiet, median, busy } = self;
        println!("{name:<38} {quiet:>8.1} {median:>8.1} {busy:>8.1}");
    }
}

/// Returns whether the arguments of the program select the row `name`. Each argument is a part
/// of a name; without arguments every row is selected. Cargo's own `--bench` is ignored.
#[must_use]
pub fn is_wanted(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|part| !part.starts_with('-')).peekable();
    parts.peek().is_none() || parts.any(|part| name.contains(&part))
}
