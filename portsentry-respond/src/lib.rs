//! The responder: the process that keeps its rights.
//!
//! The packet process reads packets and gives up its rights first. It asks the responder, which was
//! started with the same rights, for everything that needs them. The responder reads the
//! configuration, opens the files that it names, runs responses, and maintains the blocked file and
//! the pid file. It accepts typed requests only ([`protocol`]) and trusts none of them: the
//! configuration that the responder has read decides the effect of a request.
//!
//! [`Client`] is the side of the packet process, [`Server`] the side of the responder. Both are
//! optional: [`WorkerPool`] runs [`Actions`] on a pool of threads, [`BlockedFile`] stores blocked
//! hosts.

mod actions;
mod admission;
mod answer;
mod channel;
mod client;
mod error;
mod history_watch;
mod kernel_features;
mod load;
mod never_block;
mod pool;
mod probe_context;
pub mod protocol;
mod recent;
mod safeguard;
mod server;
mod start;
mod store;
mod translated;

pub use actions::Actions;
pub use actions::command::{Command, CommandError, Finished};
pub use actions::hosts_deny::{Added, HostsDenyError, add_line};
pub use actions::simple_command::ShellAnswer;
pub use answer::Answer;
pub use client::{Client, Notification};
pub use error::{ClientError, LoadError, ServerError};
pub use kernel_features::missing_response_features;
pub use load::Loaded;
pub use pool::{Check, Completion, Unfinished, WorkerPool};
pub use portsentry_report::{Action, ActionEvent, Prevented, Report};
pub use probe_context::ProbeContext;
pub use server::{Load, Options, ReadFile, Server};
pub use start::{ReplySender, is_called};
pub use store::{
    BlockedFile, BlockedFileError, History, Hosts, OddRecord, Restored, encode_records,
};
pub use translated::translation_doubts;
