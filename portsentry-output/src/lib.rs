//! Writes events and notices to the log, syslog and the history.
//!
//! A packet thread appends a batch of events to a bounded [`Queue`] and continues. The
//! [`Reporter`], a thread, formats the lines and writes them. A slow disk, a stopped reader
//! or a hung name server therefore never delays capture. No output delays another one
//! either: each has its own buffer and is written only while it is ready. Items that find
//! the queue full are counted, and the count is logged when there is room again.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use portsentry_output::{LogItem, Outputs, Queue, Reporter, Syslog};
//! use portsentry_report::{Level, Notice};
//!
//! let queue = Arc::new(Queue::default());
//! let syslog = Syslog::new("/dev/log".as_ref());
//! let outputs = Outputs { console: None, syslog: Some(syslog) };
//! let reporter = Reporter::start(Arc::clone(&queue), outputs)?;
//! // `queue.push(..)` and `queue.extend(..)`, from any thread.
//! let unwritten = reporter.finish();
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]

mod names;
mod queue;
mod sinks;
mod timestamp;
mod writer;

pub use queue::{Change, LogItem, Queue};
pub use sinks::{Console, Syslog, print_final};
pub use timestamp::Stamper;
pub use writer::{Outputs, Reporter};
