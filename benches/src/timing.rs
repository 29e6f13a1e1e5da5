//! Times that can be compared on a shared machine.
//!
//! Batches are timed one by one, and the median is what counts: a mean tells of
//! the neighbours. What one batch in ten stays below shows the machine when they
//! are quiet.

use std::time::Instant;

/// Batches that are timed.
const BATCHES: usize = 2_000;

/// Prints the heading of a table of times.
pub fn print_heading() {
    println!("{:<38} {:>8} {:>8} {:>8}", "ns per packet", "10 %", "median", "90 %");
}

/// Prints a row: how long `process` takes for each of `packets`. What `prepare`
/// does before each batch is not timed.
pub fn print_row<S: ?Sized>(
    name: &str,
    packets: usize,
    state: &mut S,
    prepare: fn(&mut S),
    process: fn(&mut S),
) {
    let mut times: Vec<f64> = (0..BATCHES)
        .map(|_| {
            prepare(state);
            let start = Instant::now();
            process(state);
            start.elapsed().as_nanos() as f64 / packets as f64
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let at = |percent| times[BATCHES * percent / 100];
    println!("{name:<38} {:>8.1} {:>8.1} {:>8.1}", at(10), at(50), at(90));
}

/// Whether the arguments of the program choose this row: by a part of its name,
/// or none are given. Cargo's own `--bench` chooses nothing.
#[must_use]
pub fn is_wanted(name: &str) -> bool {
    let mut parts = std::env::args().skip(1).filter(|part| !part.starts_with('-')).peekable();
    parts.peek().is_none() || parts.any(|part| name.contains(&part))
}
