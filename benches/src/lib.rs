//! The workloads of the benchmarks: traffic of scanners, and a sentry without sensors and
//! reporters that decodes it and decides about it.
//!
//! Everything is the same in every run, so that two measurements can be compared and
//! instruction counts repeat exactly.

mod plot;
mod timing;
mod traffic;
mod workload;

pub use plot::{Curve, curves};
pub use timing::{Times, is_wanted};
pub use traffic::{Form, Random, Scan};
pub use workload::{BATCH, Load, Workload};
