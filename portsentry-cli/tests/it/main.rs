//! The program from outside: started as a process, observed through its lines, its files
//! and its exit status, and scanned with the tools of scanners.
//!
//! Tests that need packets run in their own network namespaces. `station` starts the
//! program, `probe` and `forgery` create traffic, `witness` captures what was really on the
//! wire, and `expected` returns the lines that must follow from it. The other modules are
//! the tests, by subject.

mod expected;
mod forgery;
#[path = "../../../portsentry-capture/tests/offline/fragments.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod fragments;
#[path = "../../../portsentry-capture/tests/offline/frames.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod frames;
mod gate;
mod probe;
mod starts;
mod station;
mod witness;

mod all_ports;
mod blocking;
mod capture;
mod checks;
mod clocks;
mod commands;
mod connect;
mod connect_load;
mod crashes;
mod endings;
mod evasion;
mod flood;
mod forwarding;
mod guests;
mod interruptions;
mod names;
mod old_kernels;
#[cfg(not(feature = "rings"))]
mod one_ring;
mod options;
mod overload;
mod partial;
mod real_services;
mod reloads;
mod replays;
mod responder;
mod responses;
#[cfg(feature = "rings")]
mod rings;
mod safeguards;
mod sandbox;
mod scans;
mod services;
mod sinks;
mod solicited;
mod tcpdump_captures;
