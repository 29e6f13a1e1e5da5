//! The log on standard output, with errors on standard error.

use std::io::Write;

use super::Level;
use super::lines::DEBUG_PREFIX;
use super::sink::Sink;

type Stream = Box<dyn Write + Send>;

/// Bytes gathered before they are written, so that one write carries a batch.
const CHUNK: usize = 1 << 16;

/// Two streams for lines.
pub struct Console {
    output: Sink<Stream>,
    error: Sink<Stream>,
    /// Whether each line begins with its severity, as the journal reads it
    /// (`sd-daemon(3)`).
    severities: bool,
    /// What is to be said about standard output since the last flush.
    complaint: Option<String>,
}

impl Console {
    /// Lines go to `output`, warnings and errors to `error`. With `severities`,
    /// the severity stands before each line, as `<5>`.
    pub fn new(output: Stream, error: Stream, severities: bool) -> Self {
        let output = Sink::new("standard output", output);
        let error = Sink::new("standard error", error);
        Self { output, error, severities, complaint: None }
    }

    /// Adds a line, to be written with the next flush. Both streams may lead to
    /// one place, so lines of the other one that are gathered go first.
    pub(super) fn line(&mut self, level: Level, line: &[u8]) {
        let sink = if level <= Level::Warning {
            self.flush_output();
            &mut self.error
        } else {
            self.flush_error();
            &mut self.output
        };
        if self.severities {
            sink.pending.extend_from_slice(&[b'<', b'0' + level.severity(), b'>']);
        } else if level == Level::Debug {
            sink.pending.extend_from_slice(DEBUG_PREFIX.as_bytes());
        }
        sink.pending.extend_from_slice(line);
        sink.pending.push(b'\n');
        sink.lines += 1;
    }

    /// Whether enough has been gathered.
    pub(super) fn is_full(&self) -> bool {
        self.output.pending.len() >= CHUNK || self.error.pending.len() >= CHUNK
    }

    /// Writes what was gathered; gives what is to be said about standard output.
    pub(super) fn flush(&mut self) -> Option<String> {
        self.flush_output();
        self.flush_error();
        self.complaint.take()
    }

    fn flush_output(&mut self) {
        let complaint = self.output.flush(|output, lines| {
            output.write_all(lines)?;
            output.flush()
        });
        self.complaint = complaint.or(self.complaint.take());
    }

    fn flush_error(&mut self) {
        // Nobody is left to be told that standard error does not work.
        let _ = self.error.flush(Write::write_all);
    }
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console").field("severities", &self.severities).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What one line of each level leaves on the two streams.
    fn streams(severities: bool) -> [String; 2] {
        let (output, error) = (Shared::default(), Shared::default());
        let mut console =
            Console::new(Box::new(output.clone()), Box::new(error.clone()), severities);
        let levels = [Level::Error, Level::Warning, Level::Notice, Level::Verbose, Level::Debug];
        for (number, level) in levels.into_iter().enumerate() {
            console.line(level, number.to_string().as_bytes());
        }
        assert_eq!(console.flush(), None);
        [output, error].map(|stream| String::from_utf8(stream.0.lock().unwrap().clone()).unwrap())
    }

    #[test]
    fn errors_go_to_the_other_stream() {
        assert_eq!(streams(false), ["2\n3\ndebug: 4\n", "0\n1\n"]);
        assert_eq!(streams(true), ["<5>2\n<6>3\n<7>4\n", "<3>0\n<4>1\n"]);
    }

    #[test]
    fn lines_keep_their_order_in_one_place() {
        let place = Shared::default();
        let mut console = Console::new(Box::new(place.clone()), Box::new(place.clone()), false);
        let levels = [Level::Notice, Level::Error, Level::Error, Level::Notice, Level::Warning];
        for (number, level) in levels.into_iter().enumerate() {
            console.line(level, number.to_string().as_bytes());
        }
        assert_eq!(console.flush(), None);
        assert_eq!(*place.0.lock().unwrap(), b"0\n1\n2\n3\n4\n");
    }
}
