//! The log on the system logger: RFC 3164 messages to a datagram socket.
//!
//! If the logger restarts or is too slow, messages wait in a bounded queue. If the queue is
//! full, messages are lost and counted. The count is logged when the logger works again.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Zoned;
use portsentry_report::{Level, Notice};

/// Facility `daemon` (RFC 3164 section 4.1.1).
const FACILITY: u8 = 3;
/// Maximum number of messages that wait for the logger.
const CAPACITY: usize = 8192;
/// Interval between retries after the logger did not accept a message.
const RETRY: Duration = Duration::from_millis(100);
/// Maximum length of the text of a message. RFC 3164 section 4.1 allows 1,024 bytes in all.
const MAX_TEXT: usize = 960;

/// A connection to the system logger.
#[derive(Debug)]
pub struct Syslog {
    path: PathBuf,
    socket: Option<UnixDatagram>,
    waiting: VecDeque<Vec<u8>>,
    lost: u64,
    retry: Option<Instant>,
}

impl Syslog {
    /// Default path of the socket of a logger.
    pub const DEFAULT_PATH: &'static str = "/dev/log";

    /// Creates a connection to the logger that listens at `path`. It connects for the
    /// first message, and reconnects after a restart of the logger.
    pub fn new(path: &Path) -> Self {
        let path = path.to_owned();
        Self { path, socket: None, waiting: VecDeque::new(), lost: 0, retry: None }
    }

    /// Appends a line for the next flush.
    pub(crate) fn line(&mut self, level: Level, line: &[u8]) {
        if self.waiting.len() < CAPACITY {
            self.waiting.push_back(message(level, line, &Zoned::now()));
        } else {
            self.lost += 1;
        }
    }

    /// Sends as many messages as the logger accepts, without waiting.
    pub(crate) fn flush(&mut self, now: Instant) {
        if self.retry.is_some_and(|retry| now < retry) {
            return;
        }
        self.retry = None;
        while let Some(message) = self.waiting.front() {
            let sent = connected(&mut self.socket, &self.path)
                .and_then(|socket| socket.send(message).map(drop));
            match sent {
                Ok(()) => {
                    self.waiting.pop_front();
                    self.report_lost();
                }
                Err(error) => {
                    if error.kind() != io::ErrorKind::WouldBlock {
                        self.socket = None;
                    }
                    self.retry = Some(now + RETRY);
                    return;
                }
            }
        }
    }

    /// Logs the number of lost lines if the queue has room again.
    fn report_lost(&mut self) {
        if self.lost > 0 && self.waiting.len() < CAPACITY / 2 {
            let notice = Notice::SyslogLost { lines: std::mem::take(&mut self.lost) };
            self.line(notice.level(), notice.to_string().as_bytes());
        }
    }

    /// Returns the time of the next retry, if the logger did not accept all messages.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry
    }

    /// Returns the number of messages that the logger has not accepted.
    pub(crate) fn unsent(&self) -> u64 {
        self.waiting.len() as u64 + self.lost
    }
}

fn connected<'a>(
    socket: &'a mut Option<UnixDatagram>,
    path: &Path,
) -> io::Result<&'a UnixDatagram> {
    if socket.is_none() {
        let new = UnixDatagram::unbound()?;
        new.connect(path)?;
        new.set_nonblocking(true)?;
        *socket = Some(new);
    }
    socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
}

/// Returns `<29>Nov 22 17:27:03 portsentry[123]: TEXT`, in local time (RFC 3164 section
/// 4.1), without the host's name, like `syslog(3)` of the C library.
fn message(level: Level, line: &[u8], now: &Zoned) -> Vec<u8> {
    let mut message = Vec::with_capacity(48 + line.len());
    let priority = FACILITY * 8 + level.severity();
    let (stamp, pid) = (now.strftime("%b %e %H:%M:%S"), std::process::id());
    // Writing to a vector cannot fail.
    let _ = write!(message, "<{priority}>{stamp} portsentry[{pid}]: ");
    message.extend_from_slice(line.get(..MAX_TEXT).unwrap_or(line));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receive(logger: &UnixDatagram) -> Option<String> {
        let mut buffer = [0; 2048];
        let length = logger.recv(&mut buffer).ok()?;
        let text = String::from_utf8(buffer[..length].to_vec()).unwrap();
        Some(text.split_once("]: ").unwrap().1.to_owned())
    }

    fn logger(path: &Path) -> UnixDatagram {
        let _ = std::fs::remove_file(path);
        let logger = UnixDatagram::bind(path).unwrap();
        logger.set_nonblocking(true).unwrap();
        logger
    }

    #[test]
    fn a_message_has_the_form_of_the_c_library() {
        let now = "2026-11-02T07:05:09[UTC]".parse().unwrap();
        let pid = std::process::id();
        let text = |level| String::from_utf8(message(level, b"text", &now).clone()).unwrap();
        assert_eq!(text(Level::Notice), format!("<29>Nov  2 07:05:09 portsentry[{pid}]: text"));
        assert!(text(Level::Error).starts_with("<27>"));
        assert!(text(Level::Verbose).starts_with("<30>"));
        assert!(text(Level::Debug).starts_with("<31>"));
        assert!(message(Level::Debug, &[b'x'; 5000], &now).len() <= 1024);
    }

    #[test]
    fn messages_wait_for_a_logger_that_restarts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog::new(&path);
        let start = Instant::now();
        syslog.line(Level::Notice, b"one");
        syslog.flush(start);
        assert_eq!((syslog.unsent(), syslog.deadline()), (1, Some(start + RETRY)));

        let first = logger(&path);
        syslog.flush(start);
        assert_eq!(receive(&first), None, "not before the retry is due");
        syslog.flush(start + RETRY);
        assert_eq!(receive(&first).as_deref(), Some("one"));

        drop(first);
        let second = logger(&path);
        syslog.line(Level::Notice, b"two");
        syslog.flush(start + RETRY * 2);
        syslog.flush(start + RETRY * 3);
        assert_eq!(receive(&second).as_deref(), Some("two"));
        assert_eq!((syslog.unsent(), syslog.deadline()), (0, None));
    }

    #[test]
    fn messages_above_the_capacity_are_counted_and_reported() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut syslog = Syslog::new(&path);
        for number in 0..CAPACITY + 5 {
            syslog.line(Level::Notice, number.to_string().as_bytes());
        }
        let logger = logger(&path);
        let mut received = Vec::new();
        let mut now = Instant::now();
        while syslog.unsent() > 0 {
            syslog.flush(now);
            received.extend(std::iter::from_fn(|| receive(&logger)));
            now += RETRY;
        }
        assert_eq!(received.len(), CAPACITY + 1);
        assert_eq!(received[CAPACITY - 1], (CAPACITY - 1).to_string());
        let expected = "5 lines were lost because the system logger did not accept them";
        assert_eq!(received.iter().filter(|line| *line == expected).count(), 1);
    }
}
