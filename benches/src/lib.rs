//! What the benchmarks measure: traffic of scanners, and a sentry without
//! sensors and reporters that decodes it and decides about it.
//!
//! Everything is the same in every run, so that what is measured twice can be
//! compared, and instructions can be counted to the last one.

mod timing;
mod traffic;
mod workload;

pub use timing::{is_wanted, print_heading, print_row};
pub use traffic::{Form, Random, Scan};
pub use workload::{BATCH, Load, Workload};
