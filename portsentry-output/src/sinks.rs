//! The outputs for lines.

mod console;
mod sink;
mod syslog;

pub use console::Console;
pub(crate) use sink::Sink;
pub use sink::print_final;
pub use syslog::Syslog;
