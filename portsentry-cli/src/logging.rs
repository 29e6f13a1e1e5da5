//! Messages of the `log` macros, on their way to the reporter.

use std::io::{self, Write};
use std::sync::Arc;

use env_logger::{Builder, Logger, Target};
use log::{LevelFilter, Log, Metadata, Record};
use portsentry_core::Importance;

use crate::report::{Item, Queue, Stream};

/// Sends everything that is logged in this process to `queue`: warnings and
/// errors as they are, more as `importance` asks.
///
/// # Panics
///
/// If the process has a logger already.
pub(crate) fn install(queue: &Arc<Queue>, importance: Importance) {
    let level = match importance {
        Importance::Notice => LevelFilter::Warn,
        Importance::Verbose => LevelFilter::Info,
        Importance::Debug => LevelFilter::Debug,
    };
    let logger = |stream| {
        Builder::new()
            .filter_level(level)
            .format(|line, record| match record.level() {
                log::Level::Debug | log::Level::Trace => {
                    write!(line, "{}{}", crate::report::DEBUG_PREFIX, record.args())
                }
                _ => write!(line, "{}", record.args()),
            })
            .target(Target::Pipe(Box::new(QueueWriter { queue: Arc::clone(queue), stream })))
            .build()
    };
    let split = Split { output: logger(Stream::Output), error: logger(Stream::Error) };
    log::set_boxed_logger(Box::new(split)).expect("the logger is installed once");
    log::set_max_level(level);
}

/// Warnings and errors on one side, everything else on the other.
struct Split {
    output: Logger,
    error: Logger,
}

impl Split {
    fn side(&self, level: log::Level) -> &Logger {
        if level <= log::Level::Warn { &self.error } else { &self.output }
    }
}

impl Log for Split {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.side(metadata.level()).enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        self.side(record.level()).log(record);
    }

    fn flush(&self) {}
}

/// Makes an item of each write: the logger writes a message at once.
struct QueueWriter {
    queue: Arc<Queue>,
    stream: Stream,
}

impl Write for QueueWriter {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(message).trim_end().to_owned();
        self.queue.push(Item::Line(self.stream, line));
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
