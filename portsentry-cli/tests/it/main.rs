//! The program from outside: started as a process, seen through its lines, its
//! files and its exit status, and scanned with the tools that scanners use.
//!
//! What needs packets runs in network namespaces of the test's own. `station`
//! starts the program, `probe` and `forgery` make traffic, `witness` tells what
//! was really on the wire, and `expected` says which lines that has to give.
//! The other modules are the tests, by subject.

mod expected;
mod forgery;
#[path = "../../../portsentry-capture/tests/offline/fragments.rs"]
#[allow(dead_code, reason = "it serves other tests too")]
mod fragments;
#[path = "../../../portsentry-capture/tests/offline/frames.rs"]
#[allow(dead_code, reason = "it serves other tests too")]
mod frames;
mod gate;
mod probe;
mod starts;
mod station;
mod witness;

mod answers;
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
mod interruptions;
mod names;
mod options;
mod overload;
mod reloads;
mod replays;
mod responder;
mod responses;
mod rings;
mod sandbox;
mod scans;
mod services;
mod sinks;
mod tcpdump_captures;
