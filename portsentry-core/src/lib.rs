//! Port scan detection as a pure state machine.
//!
//! portsentry watches the TCP and UDP ports that a host does not serve; a source that
//! probes them is scanning. This crate decides whether a packet is a probe, and which
//! response follows. It reads no clock, file, socket, environment or random source,
//! starts no thread and prints nothing: its inputs are arguments, its outputs are values.
//! The same calls always return the same results, so the crate fits a daemon, a replay of
//! a capture, and a test.
//!
//! - An [`Observation`] is one attempt to reach a port, made by a sensor.
//! - A [`Policy`] holds the rules, and [`Limits`] bound the memory.
//! - The [`Engine`] decides. Its page describes the kinds of methods, the order of calls
//!   and the loop with timeouts.
//! - A [`Verdict`] names the [`Decision`] and its [`Reason`].
//! - An [`Event`] is a fact to report, an [`Effect`] an action to perform.
//! - [`config`] parses the configuration file of the program.
//!
//! Sensors for live interfaces and capture files are in `portsentry-capture`, the text of
//! log lines is in `portsentry-report`. The guide `docs/embedding.md` in the repository
//! explains complete programs.
//!
//! # Features
//!
//! - `serde`: writes and reads observations, events, verdicts, responses, policies and
//!   limits, and writes [`EventRecord`](https://docs.rs/portsentry-core/latest/portsentry_core/struct.EventRecord.html)s.
//!   A reader must not be older than the writer. Records are only written.
//! - `std`: random hash keys, and conversions from the clocks of the standard library.
//!
//! # Example
//!
//! ```
//! use portsentry_core::{
//!     Decision, Effect, Engine, Event, HashKey, Instant, IpOptions, Limits, Observation,
//!     Outcome, Policy, Reason, TcpFlags, Timestamp,
//! };
//!
//! // Watch telnet and respond to the first probe.
//! let policy = Policy {
//!     tcp_ports: [23].into_iter().collect(),
//!     block_tcp: true,
//!     remember_blocked: true,
//!     ..Policy::default()
//! };
//! // A daemon uses a random key.
//! let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));
//!
//! // A sensor saw a SYN.
//! let (source, target) = ("192.0.2.7:40000", "198.51.100.1:23");
//! let probe =
//!     Observation::segment(source.parse().unwrap(), target.parse().unwrap(), TcpFlags::SYN)
//!         .at(Instant::from_secs(1))
//!         .stamped(Timestamp::from_nanos(1_700_000_000_000_000_000))
//!         .with_ip_options(IpOptions::Absent);
//! let verdict = engine.observe(&probe, Instant::from_secs(1));
//! assert_eq!(verdict.decision, Decision::Respond);
//!
//! // The engine requests a response; the caller performs it and reports the outcome.
//! while let Some(effect) = engine.poll_effect() {
//!     if let Effect::Respond(response) = effect {
//!         engine.handle_outcome(response.id, Outcome::Succeeded, Instant::from_secs(2));
//!     }
//! }
//!
//! // The event of the probe carries the outcome.
//! let event = engine.poll_event().expect("one event for each probe");
//! assert!(matches!(event, Event::Probe(probe) if probe.reason == Reason::Blocked));
//! // The host is blocked from now on.
//! assert_eq!(engine.observe(&probe, Instant::from_secs(3)).reason, Reason::AlreadyBlocked);
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

// An engine can move to another thread, and its inputs and outputs can be shared.
const _: () = {
    const fn movable<T: Send + Sync>() {}
    movable::<Engine>();
    movable::<Event>();
    movable::<Policy>();
    movable::<Response>();
};

mod blocked_set;
pub mod config;
mod counter_table;
mod engine;
mod event;
#[cfg(feature = "serde")]
mod event_record;
mod evidence;
mod hash_key;
mod network_set;
mod observation;
mod policy;
mod port_set;
mod scan_kind;
mod served_memory;
mod served_ports;
#[cfg(feature = "std")]
mod stopwatch;
mod tcp_flags;
mod time;
mod translated_ports;
mod verdict;

pub use engine::{
    Advice, Effect, Engine, Limits, Outcome, PreventionScope, RateLimit, Response, ResponseId,
    Statistics,
};
pub use event::{Event, Probe};
#[cfg(feature = "serde")]
pub use event_record::EventRecord;
pub use evidence::{Evidence, IpOptions, Mode, Protocol, TcpSegment};
pub use hash_key::HashKey;
pub use network_set::NetworkSet;
pub use observation::{Observation, is_reserved_source};
pub use policy::Policy;
pub use port_set::PortSet;
pub use scan_kind::ScanKind;
pub use served_ports::ServedPorts;
#[cfg(feature = "std")]
pub use stopwatch::Stopwatch;
pub use tcp_flags::TcpFlags;
pub use time::{Instant, Timestamp};
pub use translated_ports::TranslatedPorts;
pub use verdict::{Decision, Flags, Reason, Verdict};
