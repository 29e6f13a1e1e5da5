//! Processes that run in the background of a test and end with it.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// A running process. A thread reads its output continuously, so that it never blocks on
/// a full pipe. On drop, the process is killed by its process id and reaped.
#[derive(Debug)]
pub struct Background {
    name: String,
    child: Child,
    status: Option<ExitStatus>,
    output: Arc<Output>,
    /// Index of the first line that `wait_for_line` has not searched yet.
    next: usize,
}

/// A line of output, without its newline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The stream that the line was written to.
    pub stream: Stream,
    /// The text; bytes that are not UTF-8 are replaced.
    pub text: String,
    /// Time at which the test read the line.
    pub at: Instant,
}

/// One of the two output streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// File descriptor 1.
    Stdout,
    /// File descriptor 2.
    Stderr,
}

#[derive(Debug, Default)]
struct Output {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    ended_streams: usize,
}

impl Background {
    /// Starts `command` with its output piped and nothing on stdin.
    ///
    /// # Panics
    ///
    /// Panics if the process cannot be started.
    #[track_caller]
    pub fn spawn(command: Command) -> Self {
        Self::spawn_with_input(command, Stdio::null())
    }

    /// Starts `command` with its output piped and `input` on stdin.
    ///
    /// # Panics
    ///
    /// Panics if the process cannot be started.
    #[track_caller]
    pub fn spawn_with_input(mut command: Command, input: Stdio) -> Self {
        let name = format!("{command:?}");
        command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{name}: {e}"));
        let output = Arc::new(Output::default());
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        read_lines(stdout, Stream::Stdout, Arc::clone(&output));
        read_lines(stderr, Stream::Stderr, Arc::clone(&output));
        Self { name, child, status: None, output, next: 0 }
    }

    /// Returns the process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal` to the process only, not to its children.
    ///
    /// # Panics
    ///
    /// Panics if the test has already waited for the end of the process.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "{} has ended", self.name);
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).unwrap_or_else(|e| panic!("signal to {}: {e}", self.name));
    }

    /// Waits for a line that `matches`, from either stream, and returns it. The search
    /// starts after the line that the previous call returned.
    ///
    /// # Panics
    ///
    /// Panics with the complete output when `within` has passed or the process has closed
    /// its output.
    #[track_caller]
    pub fn wait_for_line(&mut self, within: Duration, matches: impl Fn(&str) -> bool) -> Line {
        let deadline = Instant::now() + within;
        let mut state = self.output.lock();
        loop {
            while let Some(line) = state.lines.get(self.next) {
                self.next += 1;
                if matches(&line.text) {
                    return line.clone();
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let ended = state.ended_streams == 2;
            if ended || left.is_zero() {
                drop(state);
                let why = if ended { "output ended" } else { "no such line in time" };
                panic!("{}: {why}\n{}", self.name, self.transcript());
            }
            state = self.output.wait(state, left);
        }
    }

    /// Waits until the process has ended and its output has been read.
    ///
    /// # Panics
    ///
    /// Kills the process and panics if it still runs after `within`.
    #[track_caller]
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let deadline = Instant::now() + within;
        // The end of the output can be waited for, the end of the process only polled.
        let mut state = self.output.lock();
        while state.ended_streams < 2 && Instant::now() < deadline {
            state = self.output.wait(state, deadline - Instant::now());
        }
        drop(state);
        loop {
            if let Some(status) = self.status.or_else(|| self.child.try_wait().expect("wait")) {
                self.status = Some(status);
                return status;
            }
            if Instant::now() >= deadline {
                self.end();
                panic!("{} still runs after {within:?}\n{}", self.name, self.transcript());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Returns all lines read so far.
    pub fn lines(&self) -> Vec<Line> {
        self.output.lock().lines.clone()
    }

    /// Returns the content of stdout so far; each line has its newline.
    pub fn stdout(&self) -> String {
        self.text(|line| line.stream == Stream::Stdout)
    }

    /// Returns the content of stderr so far; each line has its newline.
    pub fn stderr(&self) -> String {
        self.text(|line| line.stream == Stream::Stderr)
    }

    /// Returns the content of both streams so far, in the order of arrival.
    pub fn transcript(&self) -> String {
        self.text(|_| true)
    }

    fn text(&self, wanted: impl Fn(&Line) -> bool) -> String {
        let state = self.output.lock();
        state
            .lines
            .iter()
            .filter(|line| wanted(line))
            .map(|line| line.text.clone() + "\n")
            .collect()
    }

    fn end(&mut self) {
        // An error means that the process has already ended.
        let _ = self.child.kill();
        self.status =
            Some(self.child.wait().unwrap_or_else(|_| ExitStatus::from_raw(Signal::KILL.as_raw())));
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if self.status.is_none() {
            self.end();
        }
    }
}

impl Output {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, within: Duration) -> MutexGuard<'a, State> {
        let waited = self.changed.wait_timeout(state, within);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Reads on a separate thread until every writer has closed the stream.
fn read_lines(from: impl Read + Send + 'static, stream: Stream, output: Arc<Output>) {
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let text = String::from_utf8_lossy(&line).into_owned();
            output.lock().lines.push(Line { stream, text, at: Instant::now() });
            output.changed.notify_all();
        }
        output.lock().ended_streams += 1;
        output.changed.notify_all();
    });
}
