//! The log on standard output, with errors on standard error.

use std::fs::File;
use std::time::Instant;

use portsentry_report::{DEBUG_PREFIX, Level, Notice};

use super::sink::Sink;

/// Number of buffered bytes after which lines are written, so that one write contains
/// many lines.
const CHUNK: usize = 1 << 16;

/// The log on two streams.
pub struct Console {
    output: Sink<File>,
    error: Sink<File>,
    /// Whether each line starts with its severity, in the form that the journal reads
    /// (`sd-daemon(3)`).
    severities: bool,
    /// Notice about standard output that [`flush`](Self::flush) returns next.
    notice: Option<Notice>,
}

impl Console {
    /// Creates a console that writes warnings and errors to `error`, and other lines to
    /// `output`. Each stream is a file, a pipe or a terminal. With `severities`, each line
    /// starts with its severity, such as `<5>`.
    pub fn new(output: File, error: File, severities: bool) -> Self {
        let output = Sink::new("standard output", output);
        let error = Sink::new("standard error", error);
        Self { output, error, severities, notice: None }
    }

    /// Appends a line for the next flush. Flushes the other stream first, because both
    /// may be the same file, where lines must keep their order.
    pub(crate) fn line(&mut self, level: Level, line: &[u8]) {
        let sink = if level <= Level::Warning {
            self.flush_output();
            &mut self.error
        } else {
            self.flush_error();
            &mut self.output
        };
        sink.line(|pending| {
            if self.severities {
                pending.extend_from_slice(&[b'<', b'0' + level.severity(), b'>']);
            } else if level == Level::Debug {
                pending.extend_from_slice(DEBUG_PREFIX.as_bytes());
            }
            pending.extend_from_slice(line);
        });
    }

    /// Returns whether enough bytes are buffered for a write.
    pub(crate) fn is_full(&self) -> bool {
        self.output.pending() >= CHUNK || self.error.pending() >= CHUNK
    }

    /// Writes buffered lines, as many as the streams accept. Returns a notice if standard
    /// output fails or works again.
    pub(crate) fn flush(&mut self) -> Option<Notice> {
        self.flush_output();
        self.flush_error();
        self.notice.take()
    }

    /// Returns the time of the next retry, if a stream was not ready.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [self.output.deadline(), self.error.deadline()].into_iter().flatten().min()
    }

    /// Returns the number of unwritten lines.
    pub(crate) fn unwritten(&self) -> u64 {
        self.output.unwritten() + self.error.unwritten()
    }

    fn flush_output(&mut self) {
        let notice = self.output.flush(Instant::now());
        self.notice = notice.or(self.notice.take());
    }

    fn flush_error(&mut self) {
        // Errors of standard error are dropped, because it is the stream for errors.
        let _ = self.error.flush(Instant::now());
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("severities", &self.severities).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::path::Path;

    use super::*;

    fn open(path: &Path) -> File {
        OpenOptions::new().create(true).append(true).open(path).unwrap()
    }

    /// Returns the text of both streams after one line of each level.
    fn streams(severities: bool) -> [String; 2] {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["output", "error"].map(|name| folder.path().join(name));
        let [output, error] = paths.each_ref().map(|path| open(path));
        let mut console = Console::new(output, error, severities);
        let levels = [Level::Error, Level::Warning, Level::Notice, Level::Verbose, Level::Debug];
        for (number, level) in levels.into_iter().enumerate() {
            console.line(level, number.to_string().as_bytes());
        }
        assert_eq!(console.flush(), None);
        paths.map(|path| std::fs::read_to_string(path).unwrap())
    }

    #[test]
    fn errors_go_to_the_other_stream() {
        assert_eq!(streams(false), ["2\n3\ndebug: 4\n", "0\n1\n"]);
        assert_eq!(streams(true), ["<5>2\n<6>3\n<7>4\n", "<3>0\n<4>1\n"]);
    }

    #[test]
    fn lines_keep_their_order_in_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("both");
        let mut console = Console::new(open(&place), open(&place), false);
        let levels = [Level::Notice, Level::Error, Level::Error, Level::Notice, Level::Warning];
        for (number, level) in levels.into_iter().enumerate() {
            console.line(level, number.to_string().as_bytes());
        }
        assert_eq!(console.flush(), None);
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "0\n1\n2\n3\n4\n");
    }
}
