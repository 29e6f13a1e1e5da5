//! Passes messages of the `log` macros to the reporter.

use env_logger::{Builder, Logger};
use log::{LevelFilter, Log, Metadata, Record};
use portsentry_report::{Importance, Level};

/// Environment variable that selects the messages to log by module, in the syntax of `env_logger`:
/// `PORTSENTRY_LOG=portsentry_capture=debug`.
const VARIABLE: &str = "PORTSENTRY_LOG";

/// Passes the log messages of this process to `report`: warnings and errors, and more as
/// `importance` and [`VARIABLE`] require.
pub(crate) fn install(
    importance: Importance,
    report: impl Fn(Level, String) + Send + Sync + 'static,
) {
    let level = match importance {
        Importance::Notice => LevelFilter::Warn,
        Importance::Verbose => LevelFilter::Info,
        Importance::Debug => LevelFilter::Debug,
    };
    let filter = Builder::new().filter_level(level).parse_env(VARIABLE).build();
    let max_level = filter.filter();
    let logger = LineLogger { filter, report };
    // This fails if the process has a logger already, which then remains.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(max_level);
    }
}

struct LineLogger<F> {
    filter: Logger,
    report: F,
}

impl<F: Fn(Level, String) + Send + Sync> Log for LineLogger<F> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.filter.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.filter.matches(record) {
            let level = match record.level() {
                log::Level::Error => Level::Error,
                log::Level::Warn => Level::Warning,
                log::Level::Info => Level::Verbose,
                log::Level::Debug | log::Level::Trace => Level::Debug,
            };
            (self.report)(level, record.args().to_string());
        }
    }

    fn flush(&self) {}
}
