//! The reporter thread: takes events out of the queue, writes lines.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use portsentry_capture::ConnectNotice;
use portsentry_core::Event;
use portsentry_report::{Level, LineOptions, Notice};
use portsentry_respond::History;

use super::names::{Lookup, Names};
use super::queue::{Batch, Change, Deadline, LogItem, Queue};
use super::sinks::{Console, Sink, Syslog};
use super::timestamp::Stamper;

/// How long the end of the program waits for lines to be written.
const PATIENCE: Duration = Duration::from_secs(3);

/// How much of it goes to outputs that do not take lines.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// The handle of the reporter thread.
#[derive(Debug)]
pub struct Reporter {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

/// Where the log goes: to any of these.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Standard output and standard error.
    pub console: Option<Console>,
    /// The system's log.
    pub syslog: Option<Syslog>,
}

impl Reporter {
    /// Starts the thread, which writes to `outputs` what `queue` gets: important
    /// lines alone, without names and history, until an [`LogItem::Change`] comes.
    ///
    /// # Errors
    ///
    /// If the system has no thread left.
    pub fn start(queue: Arc<Queue>, outputs: Outputs) -> io::Result<Self> {
        let mut writer = Writer {
            options: LineOptions::default(),
            outputs,
            history: None,
            names: None,
            stamper: Stamper::system(),
            line: Vec::new(),
            queue: Arc::clone(&queue),
        };
        let thread = std::thread::Builder::new().name("reporter".to_owned()).spawn(move || {
            writer.run();
            writer.queue.finish(writer.unwritten());
        })?;
        Ok(Self { queue, thread })
    }

    /// Writes what is in the queue and ends the thread. If an output has
    /// stalled, gives up after half a second, or three in the worst case; gives
    /// the number of lines left unwritten.
    pub fn finish(self) -> u64 {
        self.queue.close();
        let (finished, unwritten) = self.queue.wait_finished(PATIENCE);
        if finished {
            // A thread that has finished its work is only a moment from its end.
            let _ = self.thread.join();
        }
        unwritten
    }
}

struct Writer {
    options: LineOptions,
    outputs: Outputs,
    history: Option<Sink<History>>,
    names: Option<Names>,
    stamper: Stamper,
    /// The line being formatted.
    line: Vec<u8>,
    queue: Arc<Queue>,
}

impl Writer {
    fn run(&mut self) {
        let mut batch = Batch::default();
        while self.queue.take(&mut batch, self.deadline()) {
            for item in batch.items.drain(..) {
                self.handle(item);
            }
            self.give_up_names();
            if batch.lost > 0 {
                self.outputs.notice(&Notice::LinesLost { lines: batch.lost });
            }
            self.flush();
        }
        // A slow output gets a last chance.
        let patience = Instant::now() + LAST_CHANCE;
        while let Some(deadline) = self.retry()
            && deadline < patience
        {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            self.flush();
        }
    }

    /// When something is to be done even if nothing comes: names are waited for
    /// to their end, outputs only while the queue is open.
    fn deadline(&self) -> Deadline {
        Deadline { firm: self.names.as_ref().and_then(Names::deadline), while_open: self.retry() }
    }

    /// When an output is to be tried again that did not take everything.
    fn retry(&self) -> Option<Instant> {
        let Self { outputs: Outputs { console, syslog }, history, .. } = self;
        let console = console.as_ref().and_then(Console::deadline);
        let syslog = syslog.as_ref().and_then(Syslog::deadline);
        let history = history.as_ref().and_then(Sink::deadline);
        [console, syslog, history].into_iter().flatten().min()
    }

    /// Number of lines that are not written and that no line has reported.
    fn unwritten(&self) -> u64 {
        let Self { outputs: Outputs { console, syslog }, history, .. } = self;
        console.as_ref().map_or(0, Console::unwritten)
            + syslog.as_ref().map_or(0, Syslog::unsent)
            + history.as_ref().map_or(0, Sink::unwritten)
    }

    fn handle(&mut self, item: LogItem) {
        match item {
            LogItem::Name(host, name) => self.learn(host, name),
            LogItem::Change(change) => {
                self.flush();
                self.change(*change);
            }
            LogItem::History(new) => {
                // Unless the configuration has named another since.
                let same = self.history.as_mut().filter(|it| it.inner().path() == new.path());
                if let Some(history) = same {
                    history.replace(*new);
                    self.flush();
                }
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
                Err(error) => {
                    self.outputs.notice(&Notice::NamesUnavailable { why: error.to_string() });
                }
            },
            (false, Some(_)) => {
                while let Some(host) = self.names.as_ref().and_then(Names::any_waiting) {
                    self.learn(host, None);
                }
                self.names = None;
            }
            _ => {}
        }
    }

    /// Puts the lines of `item` with those to be written.
    fn append(&mut self, item: &LogItem, name: Option<&str>) {
        let Self { options, outputs, history, stamper, line, .. } = self;
        match item {
            LogItem::Event(event) => {
                options.format(event, name, line, |level, line| outputs.line(level, line));
                if let (Event::Probe(probe), Some(history)) = (event, history) {
                    history.line(|pending| {
                        stamper.append(probe.observation.time, pending);
                        pending.push(b' ');
                        pending.extend_from_slice(line);
                    });
                }
            }
            LogItem::Report(report) => {
                let level = report.level();
                if level <= options.importance.into() {
                    outputs.line(level, report.line(name).to_string().as_bytes());
                }
            }
            LogItem::Notice(notice) => outputs.notice(notice),
            LogItem::Sensor(notice) => {
                let level = match notice {
                    ConnectNotice::Bound(_) => Level::Verbose,
                    ConnectNotice::AcceptFailed { .. } => Level::Notice,
                    _ => Level::Error,
                };
                outputs.line(level, notice.to_string().as_bytes());
            }
            LogItem::Name(..) | LogItem::Change(_) | LogItem::History(_) => {}
        }
        if self.outputs.console.as_ref().is_some_and(Console::is_full) {
            self.flush();
        }
    }

    /// Writes all that is pending, and reports outputs that fail or work again.
    fn flush(&mut self) {
        // A line that can be seen in the log is in the history already.
        let history = self.history.as_mut().and_then(|history| history.flush(Instant::now()));
        let console = self.outputs.console.as_mut().and_then(Console::flush);
        let notices = [console, history];
        if notices.iter().any(Option::is_some) {
            notices.iter().flatten().for_each(|notice| self.outputs.notice(notice));
            // Standard output may be what fails; errors have a separate stream.
            let _ = self.outputs.console.as_mut().and_then(Console::flush);
        }
        if let Some(syslog) = &mut self.outputs.syslog {
            syslog.flush(Instant::now());
        }
    }
}

impl Outputs {
    /// Adds the lines of `notice`.
    fn notice(&mut self, notice: &Notice) {
        for line in notice.to_string().lines() {
            self.line(notice.level(), line.as_bytes());
        }
    }

    fn line(&mut self, level: Level, line: &[u8]) {
        if let Some(console) = &mut self.console {
            console.line(level, line);
        }
        if let Some(syslog) = &mut self.syslog {
            syslog.line(level, line);
        }
    }
}
