//! Carrying out responses, never in the way of capture.
//!
//! A small pool of threads carries responses out and hands back how they ended:
//! whoever asks for one only puts a job into a queue, and takes outcomes out of
//! another. All of it runs in the responder. Which actions there are and in which order
//! they come stands in [`Actions`]; each kind of action is a module of its own.

mod actions;
mod blocked_file;
mod blocked_record;
mod command;
mod hosts_deny;
mod plain;
mod pool;
mod process;

pub use actions::{Action, Actions, Happened, Report};
pub use blocked_file::{BlockedFile, BlockedFileError};
pub use blocked_record::{Hosts, OddRecord, Restored, encode_records};
pub use command::{Command, CommandError, Finished, Tokens};
pub use hosts_deny::{Added, HostsDenyError, add_line};
pub use plain::Answered;
pub use pool::{Answer, Responders, Unfinished};
