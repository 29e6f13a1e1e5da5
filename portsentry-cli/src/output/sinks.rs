//! Where lines go.

mod console;
mod sink;
mod syslog;

pub use console::Console;
pub(super) use sink::Sink;
pub(crate) use sink::print_final;
pub use syslog::Syslog;
