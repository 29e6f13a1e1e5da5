//! Carrying out responses, never in the way of capture.
//!
//! The engine asks for a response; a small pool of threads carries it out and
//! hands back how it ended. The packet thread only puts a job into a queue and
//! takes outcomes out of another. Which actions there are and in which order
//! they come stands in [`Actions`]; each kind of action is a module of its own.

mod actions;
mod blocked_file;
mod command;
mod hosts_deny;
mod pool;
mod process;

pub use actions::{Action, Actions, Happened, Report};
pub use blocked_file::{BlockedFile, BlockedFileError, Restored, hosts, records};
pub use command::{Command, CommandError, Finished, Tokens};
pub use hosts_deny::{Added, HostsDenyError, add_line};
pub use pool::{Answer, Responders, Unfinished};
