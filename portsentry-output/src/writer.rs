//! The reporter thread: takes items from the queue and writes their lines.

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

/// Maximum time that the exit of the program waits for lines to be written.
const PATIENCE: Duration = Duration::from_secs(3);

/// Maximum part of it for outputs that do not accept lines.
const LAST_CHANCE: Duration = Duration::from_millis(500);

/// The handle of the reporter thread.
#[derive(Debug)]
pub struct Reporter {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

/// The outputs of the log: any, both or none.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Standard output and standard error.
    pub console: Option<Console>,
    /// The system logger.
    pub syslog: Option<Syslog>,
}

impl Reporter {
    /// Starts the thread, which writes the items of `queue` to `outputs`. Until the first
    /// [`LogItem::Change`], it writes only lines of the default importance, and neither
    /// looks up names nor writes a history.
    ///
    /// # Errors
    ///
    /// The error of the system if it cannot start a thread.
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

    /// Writes the items in the queue and stops the thread. Waits for a stalled output
    /// for half a second, and three seconds in the worst case. Returns the number of
    /// unwritten lines.
    pub fn finish(self) -> u64 {
        self.queue.close();
        let (finished, unwritten) = self.queue.wait_finished(PATIENCE);
        if finished {
            // The thread has finished its work, so the wait is short.
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
        // Slow outputs have a last chance before the thread exits.
        let patience = Instant::now() + LAST_CHANCE;
        while let Some(deadline) = self.retry()
            && deadline < patience
        {
            std::thread::sleep(deadline.saturating_duration_since(Instant::now()));
            self.flush();
        }
    }

    /// Returns the times at which the thread must act without a new item. Lookups count
    /// until their timeout; retries of outputs count only while the queue is open.
    fn deadline(&self) -> Deadline {
        Deadline { firm: self.names.as_ref().and_then(Names::deadline), while_open: self.retry() }
    }

    /// Returns the time of the next retry of an output.
    fn retry(&self) -> Option<Instant> {
        let Self { outputs: Outputs { console, syslog }, history, .. } = self;
        let console = console.as_ref().and_then(Console::deadline);
        let syslog = syslog.as_ref().and_then(Syslog::deadline);
        let history = history.as_ref().and_then(Sink::deadline);
        [console, syslog, history].into_iter().flatten().min()
    }

    /// Returns the number of unwritten lines that no notice has reported.
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
                // A later configuration may name another file.
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

    /// Appends the lines of `item` to the outputs.
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

    /// Flushes all outputs, and reports those that fail or work again.
    fn flush(&mut self) {
        // The history is first, so that it contains every line that the log shows.
        let history = self.history.as_mut().and_then(|history| history.flush(Instant::now()));
        let console = self.outputs.console.as_mut().and_then(Console::flush);
        let notices = [console, history];
        if notices.iter().any(Option::is_some) {
            notices.iter().flatten().for_each(|notice| self.outputs.notice(notice));
            // Standard error is a separate stream, so it can report a failed standard output.
            let _ = self.outputs.console.as_mut().and_then(Console::flush);
        }
        if let Some(syslog) = &mut self.outputs.syslog {
            syslog.flush(Instant::now());
        }
    }
}

impl Outputs {
    /// Appends the lines of `notice`.
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
