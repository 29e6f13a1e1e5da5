//! Text of what portsentry logs.
//!
//! Formats alone: values go in and text comes out. No function here reads a clock or
//! a file, or writes to one; the caller does, so that lines are the same in the program,
//! in a replay and in a tool that embeds the detection.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod event_lines;
mod level;
mod line;
mod notice;
mod response;
mod summary;

pub use event_lines::{DEBUG_PREFIX, LineOptions};
pub use level::Level;
pub use line::{EventLine, Importance, PreludeLine};
pub use notice::Notice;
pub use response::{Action, ActionEvent, Report};
pub use summary::{ConnectSummary, Evictions, Summary};
