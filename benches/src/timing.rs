//! Times that can be compared on a shared machine.
//!
//! Batches are timed one by one, and the median is what counts: a mean tells of
//! the neighbours. What one batch in ten stays below shows the machine when they
//! are quiet.

use std::time::Instant;

/// Batches that are timed.
const BATCHES: usize = 2_000;

/// How long batches took, in nanoseconds for each packet.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// What one batch in ten stays below.
    pub quiet: f64,
    /// What half of them stay below.
    pub median: f64,
    /// What nine in ten stay below.
    pub busy: f64,
}

impl Times {
    /// Times `process` for batches of so many packets. What `prepare` does before
    /// each batch is not timed.
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

    /// From the nanoseconds that each of so many batches took.
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

    /// The same for times of something else: `"ns per line"`.
    pub fn print_heading_of(unit: &str) {
        println!("{unit:<38} {:>8} {:>8} {:>8}", "10 %", "median", "90 %");
    }

    /// Prints a row.
    pub fn print(&self, name: &str) {
        let Self { quiet, median, busy } = self;
        println!("{name:<38} {quiet:>8.1} {median:>8.1} {busy:>8.1}");
    }
}

/// Whether the arguments of the program choose this row: by a part of its name,
/// or none are given. Cargo's own `--bench` chooses nothing.
#[must_use]
pub fn is_wanted(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|part| !part.starts_with('-')).peekable();
    parts.peek().is_none() || parts.any(|part| name.contains(&part))
}
