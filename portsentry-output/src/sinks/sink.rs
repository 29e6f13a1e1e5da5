//! A place where lines go, and what happens when it does not take them.
//!
//! One that fails loses the lines of the moment; one that nobody reads, such as
//! the pipe of a program that hangs, keeps them up to a bound. Neither holds up
//! the others: the thread that writes waits for a place a tenth of a second
//! once, and then looks at it in passing, ever more seldom, until it takes lines
//! again. What is lost is counted, and said at the beginning and when it is over.

use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use portsentry_capture::reactor::{Interest, wait};
use portsentry_report::Notice;
use rustix::fs::{FileType, fstat};

/// How long a place is waited for that takes nothing at the moment.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long until one that was not ready is looked at again: at first, and in
/// the end. A reader that was only kept waiting by a busy machine is back soon.
const FIRST_RETRY: Duration = Duration::from_millis(1);
const LAST_RETRY: Duration = Duration::from_millis(100);

/// Bytes that are kept for one that is not ready, some 40,000 lines.
const MAX_PENDING: usize = 8 << 20;

/// Bytes that a pipe takes whole and without waiting once it is ready:
/// `PIPE_BUF` of Linux, `pipe(7)`.
const PIPE_BUF: usize = 4096;

/// A writer with the lines that are not written yet.
pub(crate) struct Sink<W> {
    name: String,
    inner: W,
    /// Bytes that are written at once.
    chunk: usize,
    /// Lines, of which the first `written` bytes are written.
    pending: Vec<u8>,
    written: usize,
    /// Lines in `pending` that are not.
    lines: u64,
    /// Lines that could not be written since it last worked.
    lost: u64,
    /// It was not ready: when it is looked at again, and how long after the
    /// last time that is.
    retry: Option<(Instant, Duration)>,
    /// The last byte written was not the end of a line.
    within_line: bool,
    /// And its rest was lost.
    torn: bool,
    /// What is to be said about it.
    notice: Option<Notice>,
}

impl<W: Write + AsFd> Sink<W> {
    pub(crate) fn new(name: impl Into<String>, inner: W) -> Self {
        // A file is always ready, and takes any number of bytes at once; so is
        // `/dev/null`.
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

    /// Adds a line, which `put` writes without its end, to be written with the
    /// next flush.
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

    /// What is pending goes to `inner`, at once.
    pub(crate) fn replace(&mut self, inner: W) {
        self.inner = inner;
        self.retry = None;
    }

    /// What lines are written to.
    pub(crate) fn inner(&self) -> &W {
        &self.inner
    }

    /// Bytes that wait to be written.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len() - self.written
    }

    /// When it is to be flushed again, if it was not ready.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry.map(|(at, _)| at)
    }

    /// Lines that are not written, those lost since it last worked among them.
    pub(crate) fn unwritten(&self) -> u64 {
        self.lines + self.lost
    }

    /// Writes what is pending, as far as it is taken. Returns a notice when
    /// lines start to be lost, and one that counts them when that is over.
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

    /// Takes the next `count` bytes as written.
    fn forget(&mut self, count: usize) {
        let taken = &self.pending[self.written..self.written + count];
        self.lines -= line_ends(taken);
        self.within_line = taken.last().map_or(self.within_line, |last| *last != b'\n');
        self.written += count;
        // What is left is moved only once it is the smaller part.
        if self.written > self.pending.len() / 2 {
            self.pending.drain(..self.written);
            self.written = 0;
        }
    }

    /// Writes whole lines where it can. Gives how many of the bytes that are not
    /// written now are, and why not all.
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

/// How many of `bytes` to write first: at most `limit`, and whole lines, so that
/// nothing else gets between the parts of one.
fn first_chunk(bytes: &[u8], limit: usize) -> usize {
    match bytes.get(..limit) {
        None => bytes.len(),
        Some(chunk) => chunk.iter().rposition(|byte| *byte == b'\n').map_or(limit, |end| end + 1),
    }
}

/// Returns whether `file` accepts data within `patience`. A broken file is ready, so that the
/// write reports the error. After a signal it is not ready, and the caller asks again.
fn is_ready(file: &impl AsFd, patience: Duration) -> bool {
    let writable = Some(Interest::writable(file.as_fd()));
    wait([writable], Some(patience)).is_ok_and(|ready| ready == [true])
}

/// Writes `text` to standard error, unless that fails or takes too long:
/// whoever ends has nobody else to tell.
pub fn print_final(text: &str) {
    let mut sink = Sink::new("standard error", StandardError);
    sink.line(|line| line.extend_from_slice(text.trim_end().as_bytes()));
    let _ = sink.flush(Instant::now());
}

/// [`io::stderr`] without its panics.
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
    fn a_pipe_that_nobody_reads_holds_up_nobody_and_loses_what_is_too_much() {
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

        // 64 KiB are in the pipe, some mebibytes wait, and the rest is lost.
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
    fn a_reader_that_is_slow_but_reads_gets_every_line() {
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
    fn chunks_end_with_a_line_where_they_can() {
        assert_eq!(first_chunk(b"one\ntwo\nthree\n", 9), 8);
        assert_eq!(first_chunk(b"one\ntwo\n", 8), 8);
        assert_eq!(first_chunk(b"one\ntwo\n", 99), 8);
        assert_eq!(first_chunk(b"a line without end", 6), 6);
    }

    /// A file on a disk that has room for so many bytes.
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
    fn what_is_written_before_the_disk_is_full_is_not_called_lost() {
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
