//! Formats events, responses, notices and the summary of portsentry as text.
//!
//! The crate does no I/O: no function reads a clock or a file, or writes a file. The
//! program, a replay and a tool that embeds the detection therefore produce the same
//! lines.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod event_lines;
mod level;
mod line;
mod notice;
mod prevented;
mod response;
mod summary;

pub use event_lines::{DEBUG_PREFIX, LineOptions};
pub use level::Level;
pub use line::{EventLine, Importance, PreludeLine};
pub use notice::Notice;
pub use prevented::Prevented;
pub use response::{Action, ActionEvent, Report};
pub use summary::{ConnectSummary, Evictions, Summary};
