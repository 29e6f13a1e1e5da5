//! A program that embeds portsentry, written against the version in this tree.
//!
//! `scripts/test-growth` compiles and runs it, unchanged, with copies of the crates that
//! have more fields and variants. Types that may grow cannot be written as literals:
//!
//! ```compile_fail
//! use portsentry_core::{TcpFlags, TcpSegment};
//! let segment = TcpSegment { flags: TcpFlags::SYN, sequence: 0, window: 0 };
//! ```
//!
//! ```compile_fail
//! use portsentry_core::{Decision, Reason, Verdict};
//! let verdict = Verdict { decision: Decision::Drop, reason: Reason::Served };
//! ```
//!
//! ```compile_fail
//! use portsentry_core::{Observation, Probe, Reason};
//! fn probe(observation: Observation) -> Probe {
//!     Probe { observation, reason: Reason::Served }
//! }
//! ```
//!
//! ```compile_fail
//! use portsentry_core::Observation;
//! fn copy(it: Observation) -> Observation {
//!     let Observation { at, time, interface, source, target, source_port, target_port,
//!         evidence, ip_options, ttl, ip_id } = it;
//!     Observation { at, time, interface, source, target, source_port, target_port,
//!         evidence, ip_options, ttl, ip_id }
//! }
//! ```
#![deny(warnings, unreachable_patterns)]

pub mod matches;
pub mod run;
pub mod stored;
