//! What the benchmarks measure: traffic of scanners, and a sentry without
//! sensors and reporters that decodes it and decides about it.
//!
//! Everything is the same in every run, so that what is measured twice can be
//! compared, and instructions can be counted to the last one.

mod plot;
mod timing;
mod traffic;
mod workload;

pub use plot::{Curve, curves};
pub use timing::{Times, is_wanted};
pub use traffic::{Form, Random, Scan};
pub use workload::{BATCH, Load, Workload};
