//! The reporter thread: takes events out of the queue, writes lines.

use std::fmt::Display;
use std::io::{self, Write};
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portsentry_core::{Event, Importance};

use super::lines::DEBUG_PREFIX;
use super::names::{Lookup, Names};
use super::queue::Batch;
use super::{History, Item, LineOptions, Queue, Stamper, Stream};
use crate::respond::Weight;

/// Bytes gathered before they are written, so that one write carries a batch.
const CHUNK: usize = 1 << 16;

/// How long the end of the program waits for lines to be written.
const PATIENCE: Duration = Duration::from_secs(3);

/// The handle of the reporter thread.
#[derive(Debug)]
pub struct Reporter {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

/// Where lines go.
pub struct Sinks {
    /// Ordinary lines.
    pub output: Box<dyn Write + Send>,
    /// Warnings and errors.
    pub error: Box<dyn Write + Send>,
}

/// How lines are written from now on.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq, Eq))]
pub struct Change {
    /// Which lines are wanted.
    pub options: LineOptions,
    /// The history, if there is to be one.
    pub history: Option<History>,
    /// Whether names of hosts are looked up.
    pub resolve_names: bool,
}

impl std::fmt::Debug for Sinks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sinks").finish_non_exhaustive()
    }
}

impl Reporter {
    /// Starts the thread, which writes to `sinks` what `queue` gets: important
    /// lines alone, without names and history, until an [`Item::Change`] comes.
    ///
    /// # Errors
    ///
    /// If the system has no thread left.
    pub fn start(queue: Arc<Queue>, sinks: Sinks) -> io::Result<Self> {
        let mut writer = Writer {
            options: LineOptions::default(),
            output: Sink::new("standard output", sinks.output),
            error: Sink::new("standard error", sinks.error),
            history: None,
            names: None,
            stamper: Stamper::system(),
            queue: Arc::clone(&queue),
        };
        let thread = std::thread::Builder::new().name("reporter".to_owned()).spawn(move || {
            writer.run();
            writer.queue.finish();
        })?;
        Ok(Self { queue, thread })
    }

    /// Writes what is in the queue and ends the thread. If a sink has stalled,
    /// gives up after three seconds; gives the number of items left unwritten.
    pub fn finish(self) -> u64 {
        self.queue.close();
        let unwritten = self.queue.wait_finished(PATIENCE);
        if unwritten == 0 {
            // A thread that has finished its work is only a moment from its end.
            let _ = self.thread.join();
        }
        unwritten
    }
}

struct Writer {
    options: LineOptions,
    output: Sink<Box<dyn Write + Send>>,
    error: Sink<Box<dyn Write + Send>>,
    history: Option<Sink<History>>,
    names: Option<Names>,
    stamper: Stamper,
    queue: Arc<Queue>,
}

impl Writer {
    fn run(&mut self) {
        let mut batch = Batch::default();
        while self.queue.take(&mut batch, self.names.as_ref().and_then(Names::deadline)) {
            for item in batch.items.drain(..) {
                self.handle(item);
            }
            self.give_up_names();
            if batch.lost > 0 {
                let lost = batch.lost;
                self.complain(format_args!(
                    "{lost} lines were lost: the log or history could not keep up"
                ));
            }
            self.flush();
        }
    }

    fn handle(&mut self, item: Item) {
        match item {
            Item::Name(host, name) => self.learn(host, name),
            Item::Change(change) => {
                self.flush();
                self.change(*change);
            }
            item => match (&mut self.names, item.host()) {
                (Some(names), Some(host)) => match names.look_up(host, item, Instant::now()) {
                    Lookup::Write(item, name) => self.append(&item, Some(&name)),
                    Lookup::Waits => {}
                },
                _ => self.append(&item, None),
            },
        }
    }

    fn learn(&mut self, host: IpAddr, name: Option<String>) {
        let Some(names) = &mut self.names else { return };
        let (items, name) = names.learn(host, name, Instant::now());
        for item in items {
            self.append(&item, Some(&name));
        }
    }

    fn give_up_names(&mut self) {
        while let Some(host) = self.names.as_mut().and_then(|names| names.overdue(Instant::now())) {
            self.learn(host, None);
        }
    }

    fn change(&mut self, change: Change) {
        self.options = change.options;
        self.history = change.history.map(|history| {
            Sink::new(format!("history file {}", history.path().display()), history)
        });
        match (change.resolve_names, &self.names) {
            (true, None) => match Names::start(&self.queue) {
                Ok(names) => self.names = Some(names),
                Err(error) => self.complain(format_args!("cannot look up names: {error}")),
            },
            (false, Some(_)) => {
                while let Some(host) = self.names.as_mut().and_then(Names::any_waiting) {
                    self.learn(host, None);
                }
                self.names = None;
            }
            _ => {}
        }
    }

    /// Puts the lines of `item` with those to be written.
    fn append(&mut self, item: &Item, name: Option<&str>) {
        match item {
            Item::Event(event) => {
                let is_probe = matches!(event, Event::Probe(_));
                let history = self.history.as_mut().filter(|_| is_probe).map(|history| {
                    history.lines += 1;
                    (&mut history.pending, &mut self.stamper)
                });
                let output = &mut self.output;
                output.lines += self.options.append(event, name, &mut output.pending, history);
            }
            Item::Report(report) => match report.weight() {
                Weight::Error => self.error.append(report.line(name)),
                Weight::Notice => self.output.append(report.line(name)),
                Weight::Debug if self.options.importance >= Importance::Debug => {
                    self.output.append(format_args!("{DEBUG_PREFIX}{}", report.line(name)));
                }
                Weight::Debug => {}
            },
            Item::Line(Stream::Output, line) => self.output.append(line),
            Item::Line(Stream::Error, line) => self.error.append(line),
            Item::Name(..) | Item::Change(_) => {}
        }
        if self.output.pending.len() >= CHUNK {
            self.flush();
        }
    }

    /// Writes all that is pending, and says what has changed with the sinks.
    fn flush(&mut self) {
        let mut complaints = Vec::new();
        complaints.extend(self.output.flush(|sink, lines| {
            sink.write_all(lines)?;
            sink.flush()
        }));
        if let Some(history) = &mut self.history {
            complaints.extend(history.flush(History::append));
        }
        for complaint in complaints {
            self.complain(complaint);
        }
        // Nobody is left to be told that standard error does not work.
        let _ = self.error.flush(Write::write_all);
    }

    fn complain(&mut self, complaint: impl Display) {
        self.error.append(complaint);
    }
}

/// A place where lines go, with those that are not written yet.
struct Sink<W> {
    name: String,
    inner: W,
    pending: Vec<u8>,
    /// Lines in `pending`.
    lines: u64,
    /// Lines that could not be written since it last worked.
    lost: u64,
}

impl<W> Sink<W> {
    fn new(name: impl Into<String>, inner: W) -> Self {
        Self { name: name.into(), inner, pending: Vec::new(), lines: 0, lost: 0 }
    }

    fn append(&mut self, line: impl Display) {
        // Writing to a vector does not fail.
        let _ = writeln!(self.pending, "{line}");
        self.lines += 1;
    }

    /// Writes what is pending; gives a complaint when the sink begins to fail,
    /// and one that counts the losses when it works again.
    fn flush(&mut self, write: impl FnOnce(&mut W, &[u8]) -> io::Result<()>) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let result = write(&mut self.inner, &self.pending);
        self.pending.clear();
        let lines = std::mem::take(&mut self.lines);
        match result {
            Ok(()) if self.lost > 0 => {
                let lost = std::mem::take(&mut self.lost);
                Some(format!("{} works again; {lost} lines were lost", self.name))
            }
            Ok(()) => None,
            Err(error) => {
                let first = self.lost == 0;
                self.lost += lines;
                first.then(|| format!("Cannot write to {}: {error}", self.name))
            }
        }
    }
}
