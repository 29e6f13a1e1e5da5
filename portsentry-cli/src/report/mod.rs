//! From events to lines in the log and in the history.
//!
//! The packet thread puts events into a bounded queue, a batch at a time; a
//! thread of its own formats and writes them. So a slow disk or a reader that
//! has stopped never holds up capture, nor does one output hold up another.
//! What finds the queue full is counted, and said once there is room.

mod console;
mod history;
mod level;
mod lines;
mod names;
mod queue;
mod sink;
mod stamp;
mod syslog;
mod writer;

pub use console::Console;
pub use history::History;
pub use level::Level;
pub(crate) use lines::DEBUG_PREFIX;
pub use lines::LineOptions;
pub use queue::{Item, Queue};
pub(crate) use sink::last_words;
pub use stamp::Stamper;
pub use syslog::Syslog;
pub use writer::{Change, Outputs, Reporter};
