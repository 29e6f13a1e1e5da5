//! One output, with a buffer for lines that it does not accept yet.
//!
//! If a write fails, the buffered lines are lost. If no program reads the output, for
//! example the pipe to a hung process, lines wait in the buffer, up to a limit. Neither
//! delays the other outputs: the reporter thread waits once for 100 ms, and then retries
//! without waiting, at growing intervals. Lost lines are counted. Notices report the
//! first lost line, and the number of lost lines when the output works again.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use portsentry_capture::reactor::{Interest, wait};
use portsentry_report::Notice;
use rustix::fs::{FileType, fstat};

/// Time limit of the first wait for an output that accepts no data.
const PATIENCE: Duration = Duration::from_millis(100);

/// The shortest and the longest interval between retries. The first is short, because
/// a reader on a busy machine usually continues soon.
const FIRST_RETRY: Duration = Duration::from_millis(1);
const LAST_RETRY: Duration = Duration::from_millis(100);

/// Maximum number of buffered bytes, about 40,000 lines.
const MAX_PENDING: usize = 8 << 20;

/// Number of bytes that a ready pipe accepts in one write without blocking: `PIPE_BUF`
/// of Linux, `pipe(7)`.
const PIPE_BUF: usize = 4096;

/// An output, with the lines that are not written yet.
pub(crate) struct Sink<W> {
    name: String,
    inner: W,
    /// Maximum number of bytes in one write.
    chunk: usize,
    /// Lines. The first `written` bytes are already written.
    pending: Vec<u8>,
    written: usize,
    /// Number of unwritten lines in `pending`.
    lines: u64,
    /// Number of lines lost since the output last worked.
    lost: u64,
    /// Time of the next retry, and the interval before it; `None` if the output was
    /// ready.
    retry: Option<(Instant, Duration)>,
    /// Whether the last written byte is inside a line.
    within_line: bool,
    /// Whether the rest of a partly written line was lost.
    torn: bool,
    /// Notice that [`flush`](Self::flush) returns next.
    notice: Option<Notice>,
}

impl<W: Write + AsFd> Sink<W> {
    pub(crate) fn new(name: impl Into<String>, inner: W) -> Self {
        // A regular file or `/dev/null` is always ready, and accepts any number of bytes
        // in one write.
        let is_file = !inner.as_fd().is_terminal()
            && fstat(&inner).is_ok_and(|stat| {
                let kind = FileType::from_raw_mode(stat.st_mode);
                matches!(kind, FileType::RegularFile | FileType::CharacterDevice)
            });
        Self {
            name: name.into(),
            inner,
            chunk: if is_file { usize::MAX } else { PIPE_BUF },
            pending: Vec::new(),
            written: 0,
            lines: 0,
            lost: 0,
            retry: None,
            within_line: false,
            torn: false,
            notice: None,
        }
    }

    /// Appends a line for the next flush. `put` writes it without the line end.
    pub(crate) fn line(&mut self, put: impl FnOnce(&mut Vec<u8>)) {
        let start = self.pending.len();
        if self.pending() < MAX_PENDING {
            put(&mut self.pending);
            self.pending.push(b'\n');
            self.lines += line_ends(&self.pending[start..]);
        } else {
            self.lose(1, &"no program reads it");
        }
    }

    /// Replaces the output. The next flush writes the pending lines to `inner`.
    pub(crate) fn replace(&mut self, inner: W) {
        self.inner = inner;
        self.retry = None;
    }

    /// Returns the output.
    pub(crate) fn inner(&self) -> &W {
        &self.inner
    }

    /// Returns the number of bytes that are not written yet.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len() - self.written
    }

    /// Returns the time of the next retry, if the output was not ready.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry.map(|(at, _)| at)
    }

    /// Returns the number of unwritten lines, including those lost since the output last
    /// worked.
    pub(crate) fn unwritten(&self) -> u64 {
        self.lines + self.lost
    }

    /// Writes pending lines, as many as the output accepts. Returns a notice at the first
    /// lost line, and one with the number of lost lines when the output works again.
    pub(crate) fn flush(&mut self, now: Instant) -> Option<Notice> {
        if self.pending.is_empty() || self.deadline().is_some_and(|retry| now < retry) {
            return self.notice.take();
        }
        let waited = self.retry.take().map(|(_, waited)| waited);
        let patience = if waited.is_some() { Duration::ZERO } else { PATIENCE };
        let (count, result) = self.write(patience);
        self.forget(count);
        match result {
            Ok(()) if self.lost > 0 => {
                let lost = std::mem::take(&mut self.lost);
                self.notice = Some(Notice::OutputRestored { output: self.name.clone(), lost });
            }
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let wait = match waited {
                    Some(waited) if count == 0 => (2 * waited).min(LAST_RETRY),
                    _ => FIRST_RETRY,
                };
                self.retry = Some((now + wait, wait));
            }
            Err(error) => {
                self.torn = self.within_line;
                self.pending.clear();
                self.written = 0;
                let lines = std::mem::take(&mut self.lines);
                self.lose(lines, &error);
            }
        }
        self.notice.take()
    }

    /// Marks the next `count` bytes as written.
    fn forget(&mut self, count: usize) {
        let taken = &self.pending[self.written..self.written + count];
        self.lines -= line_ends(taken);
        self.within_line = taken.last().map_or(self.within_line, |last| *last != b'\n');
        self.written += count;
        // The rest is moved only when it is the smaller part, so that moves stay cheap.
        if self.written > self.pending.len() / 2 {
            self.pending.drain(..self.written);
            self.written = 0;
        }
    }

    /// Writes pending bytes, in whole lines where possible. Returns the number of bytes
    /// written, and the reason if some remain.
    fn write(&mut self, patience: Duration) -> (usize, io::Result<()>) {
        let mut written = 0;
        while written < self.pending() {
            let rest = &self.pending[self.written + written..];
            let next = if self.torn { b"\n" } else { &rest[..first_chunk(rest, self.chunk)] };
            if self.chunk == PIPE_BUF && !is_ready(&self.inner, patience) {
                return (written, Err(ErrorKind::WouldBlock.into()));
            }
            match self.inner.write(next) {
                Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
                Ok(_) if self.torn => self.torn = false,
                Ok(count) => written += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return (written, Err(error)),
            }
        }
        (written, Ok(()))
    }

    fn lose(&mut self, lines: u64, why: &dyn fmt::Display) {
        if self.lost == 0 {
            self.notice =
                Some(Notice::OutputFailed { output: self.name.clone(), why: why.to_string() });
        }
        self.lost += lines;
    }
}

fn line_ends(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

/// Returns the number of bytes to write first: at most `limit`, and whole lines if
/// possible, so that no other writer splits a line.
fn first_chunk(bytes: &[u8], limit: usize) -> usize {
    match bytes.get(..limit) {
        None => bytes.len(),
        Some(chunk) => chunk.iter().rposition(|byte| *byte == b'\n').map_or(limit, |end| end + 1),
    }
}

/// Returns whether `file` accepts data within `patience`. A broken file is ready, so that the
/// write reports the error. After a signal, returns false, and the caller retries.
fn is_ready(file: &impl AsFd, patience: Duration) -> bool {
    let writable = Some(Interest::writable(file.as_fd()));
    wait([writable], Some(patience)).is_ok_and(|ready| ready == [true])
}

/// Writes `text` to standard error. Ignores errors and stops after a time limit, because
/// an exiting program has no other way to report them.
pub fn print_final(text: &str) {
    let mut sink = Sink::new("standard error", StandardError);
    sink.line(|line| line.extend_from_slice(text.trim_end().as_bytes()));
    let _ = sink.flush(Instant::now());
}

/// Standard error, with errors in place of the panics of `eprint!`.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for StandardError {
    fn as_fd(&self) -> BorrowedFd<'_> {
        rustix::stdio::stderr()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read, pipe};

    use super::*;

    fn add(sink: &mut Sink<impl Write + AsFd>, text: &str) {
        sink.line(|line| line.extend_from_slice(text.as_bytes()));
    }

    fn piped() -> (Sink<PipeWriter>, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        (Sink::new("the pipe", writer), reader)
    }

    #[test]
    fn an_unread_pipe_delays_no_caller_and_loses_lines_above_the_limit() {
        const LINES: usize = 100_000;
        let (mut sink, mut reader) = piped();
        let mut now = Instant::now();
        let text = |number: usize| format!("{number:0>99}");
        let mut notices = Vec::new();
        for number in 0..LINES {
            add(&mut sink, &text(number));
            notices.extend(sink.flush(now).map(|notice| notice.to_string()));
        }
        assert_eq!(notices, ["Cannot write to the pipe: no program reads it"]);
        assert_eq!(sink.deadline(), Some(now + FIRST_RETRY));
        for wait in [1, 2, 4, 8, 16, 32, 64, 100, 100] {
            now = sink.deadline().unwrap();
            sink.flush(now);
            let wait = Duration::from_millis(wait * 2).min(LAST_RETRY);
            assert_eq!(sink.deadline(), Some(now + wait));
        }

        // 64 KiB are in the pipe, a few MiB wait in the buffer, and the rest is lost.
        let unwritten = sink.unwritten();
        let reading = std::thread::spawn(move || {
            let mut read = String::new();
            reader.read_to_string(&mut read).unwrap();
            read
        });
        while sink.pending() > 0 {
            now += LAST_RETRY;
            notices.extend(sink.flush(now).map(|notice| notice.to_string()));
        }
        drop(sink);
        let read = reading.join().unwrap();
        let kept = read.lines().count();
        assert!(read.lines().enumerate().all(|(number, line)| line == text(number)));
        let lost = LINES - kept;
        assert!(lost > 0 && lost < unwritten as usize, "{lost} of {unwritten}");
        assert_eq!(notices[1..], [format!("the pipe works again; {lost} lines were lost")]);
    }

    #[test]
    fn a_slow_reader_receives_every_line() {
        let (mut sink, mut reader) = piped();
        let reading = std::thread::spawn(move || {
            let (mut read, mut chunk) = (Vec::new(), [0; 500]);
            while let Ok(count @ 1..) = reader.read(&mut chunk) {
                read.extend_from_slice(&chunk[..count]);
            }
            read
        });
        for number in 0..10_000 {
            add(&mut sink, &format!("{number:0>60}"));
        }
        let mut now = Instant::now();
        while sink.pending() > 0 {
            assert_eq!(sink.flush(now), None);
            now += LAST_RETRY;
        }
        drop(sink);
        assert_eq!(reading.join().unwrap().len(), 61 * 10_000);
    }

    #[test]
    fn chunks_end_with_a_line_if_possible() {
        assert_eq!(first_chunk(b"one\ntwo\nthree\n", 9), 8);
        assert_eq!(first_chunk(b"one\ntwo\n", 8), 8);
        assert_eq!(first_chunk(b"one\ntwo\n", 99), 8);
        assert_eq!(first_chunk(b"a line without end", 6), 6);
    }

    /// A file on a disk with `room` free bytes.
    struct Disk {
        file: std::fs::File,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.room);
            self.room -= count;
            if count == 0 {
                Err(ErrorKind::StorageFull.into())
            } else {
                self.file.write(&bytes[..count])
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl AsFd for Disk {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.file.as_fd()
        }
    }

    #[test]
    fn lines_written_before_the_disk_is_full_do_not_count_as_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let file = std::fs::File::create(&path).unwrap();
        let mut sink = Sink::new("the disk", Disk { file, room: 10 });
        let now = Instant::now();
        for text in ["one", "two", "three", "four"] {
            add(&mut sink, text);
        }
        let full = io::Error::from(ErrorKind::StorageFull);
        assert_eq!(
            sink.flush(now).map(|notice| notice.to_string()),
            Some(format!("Cannot write to the disk: {full}"))
        );
        assert_eq!(sink.unwritten(), 2);
        add(&mut sink, "five");
        assert_eq!((sink.flush(now), sink.unwritten()), (None, 3));

        sink.inner.room = 100;
        add(&mut sink, "six");
        let back = Notice::OutputRestored { output: "the disk".into(), lost: 3 };
        assert_eq!((sink.flush(now), sink.unwritten()), (Some(back), 0));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\nth\nsix\n");
    }
}
