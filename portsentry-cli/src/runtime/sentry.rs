//! The running sentry: the loop of the main thread.
//!
//! This thread handles signals and exchanges messages with the responder. With one ring it also
//! reads packets and decides. It never writes a line, starts a program or looks up a name: other
//! threads and the responder do, behind queues.

use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portsentry_capture::clock::monotonic;
use portsentry_capture::reactor::{Interest, wait};
use portsentry_core::Instant;
use portsentry_report::{Notice, Summary};
use portsentry_respond::{Client, Unfinished};

use super::service::Manager;
use super::signals::Signals;
use super::totals::live_summary;
use super::workers::Workers;
use crate::failure::Failure;
use portsentry_output::{LogItem, Queue};

/// Everything that runs.
pub(crate) struct Sentry {
    pub(crate) workers: Workers,
    pub(crate) responder: Client,
    pub(crate) queue: Arc<Queue>,
    pub(crate) signals: Signals,
    pub(crate) heartbeat: Heartbeat,
}

/// Reason for which [`Sentry::run`] returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The configuration is to be loaded again.
    Reload,
    /// These networks are never to be responded to from now on.
    NeverBlockChanged(Vec<IpNet>),
    /// The program is to end.
    Terminate,
}

impl Sentry {
    /// Watches until an event needs more than this thread alone.
    pub(crate) fn run(&mut self) -> Result<Interrupted, Failure> {
        self.follow_translations();
        self.workers.watch();
        loop {
            self.wait()?;
            self.heartbeat.beat(monotonic(), &mut self.workers);
            self.signals.clear();
            if self.signals.terminate() {
                return Ok(Interrupted::Terminate);
            }
            if self.signals.take_reload() {
                return Ok(Interrupted::Reload);
            }
            self.take_answers();
            self.follow_translations();
            if let Some(networks) = self.responder.never_block() {
                return Ok(Interrupted::NeverBlockChanged(networks));
            }
            self.workers.poll_once(&mut self.responder)?;
        }
    }

    /// Passes on the ports that rules of the packet filter translate.
    fn follow_translations(&mut self) {
        if let Some(ports) = self.responder.translated() {
            self.workers.set_translated(ports.into());
        }
    }

    /// Waits for packets, outcomes, signals, or a timeout.
    fn wait(&self) -> Result<(), Failure> {
        // A sensor without a descriptor is always ready.
        let packets = self.workers.descriptor();
        let due = [self.workers.due(), self.heartbeat.due].into_iter().flatten().min();
        let limit = match packets {
            Some(_) if !self.responder.has_answers() => due.map(|due| due.since(monotonic())),
            _ => Some(Duration::ZERO),
        };
        let signals = Some(Interest::readable(self.signals.descriptor()));
        let packets = packets.map(Interest::readable);
        wait([signals, self.responder.interest(), packets], limit)
            .map(drop)
            .map_err(Failure::system("cannot wait for packets"))
    }

    /// Passes the answers of the responder to the engines.
    pub(crate) fn take_answers(&mut self) {
        for (id, answer) in self.responder.answers() {
            self.workers.handle_answer(id, answer);
        }
    }

    /// Ends cleanly: reads the packets that the kernel still holds, gives running responses time to
    /// end, and logs every waiting probe.
    pub(crate) fn close(mut self) -> Summary {
        self.take_answers();
        self.workers.drain_remaining(&mut self.responder);
        let (answers, unfinished) = self.responder.finish();
        for (id, answer) in answers {
            self.workers.handle_answer(id, answer);
        }
        let (stats, unresponsive) = self.workers.close();
        let Unfinished { not_started, not_finished } = unfinished;
        if not_started + not_finished > 0 {
            let notice = Notice::UnfinishedResponses { not_started, not_finished };
            self.queue.push(LogItem::Notice(notice));
        }
        if unresponsive > 0 {
            let notice = Notice::UnresponsiveThreads { threads: unresponsive };
            self.queue.push(LogItem::Notice(notice));
        }
        live_summary(stats)
    }
}

/// Notifies the watchdog of the service manager while the packet threads are responsive.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    pub(crate) manager: Manager,
    due: Option<Instant>,
}

impl Heartbeat {
    pub(crate) fn new(manager: Manager) -> Self {
        let due = manager.interval().map(|_| monotonic());
        Self { manager, due }
    }

    fn beat(&mut self, now: Instant, workers: &mut Workers) {
        if let (Some(due), Some(interval)) = (self.due, self.manager.interval())
            && now >= due
        {
            // One thread that hangs counts like all of them.
            if workers.is_responsive() {
                self.manager.alive();
            }
            self.due = Some(now.after(interval));
        }
    }
}
