//! The responder: a process of its own that does what takes rights.
//!
//! The packet process gives up its rights before it reads a packet. What it
//! cannot do from then on is done by this one, which is the same program started
//! a second time: it reads the configuration, opens the files that are named
//! there, carries out responses, and keeps the blocked file and the pid file. It
//! takes typed requests alone ([`protocol`]) and believes none of them: what is
//! to be done stands in the configuration, which it has read itself.

mod admission;
mod channel;
mod client;
mod kept_history;
pub mod protocol;
mod server;

pub(crate) use client::Responder;
pub(crate) use server::{is_called, run};

/// How long responses that are running may go on after the end was asked for;
/// then their commands have a second more to end.
const LAST_RESPONSES: std::time::Duration = std::time::Duration::from_secs(4);

/// Set for the second start. Whoever sets it by hand is told that this is not
/// for people.
const VARIABLE: &str = "PORTSENTRY_RESPONDER";

/// Signals that service managers and terminals send to both processes.
fn signals_for_both() -> nix::sys::signal::SigSet {
    use nix::sys::signal::Signal::{SIGHUP, SIGINT, SIGTERM};
    [SIGHUP, SIGINT, SIGTERM].into_iter().collect()
}
