//! From events to lines in the log and in the history.
//!
//! The packet thread puts events into a bounded queue, a batch at a time; a
//! separate thread formats and writes them. So a slow disk or a reader that
//! has stopped never holds up capture, nor does one output hold up another.
//! What finds the queue full is counted, and said once there is room.

mod names;
mod queue;
mod sinks;
mod timestamp;
mod writer;

pub use queue::{Change, LogItem, Queue};
pub(crate) use sinks::print_final;
pub use sinks::{Console, Syslog};
pub use timestamp::Stamper;
pub use writer::{Outputs, Reporter};
