//! The running sentry: one thread that waits, reads, decides and hands on.
//!
//! This thread owns sensors and engine. It never writes a line, starts a
//! program or looks up a name itself; those are queues away.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use portsentry_capture::{Drained, served_ports};
use portsentry_core::{Effect, Engine, Instant, Observation};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{ClockId, clock_gettime};

use crate::failure::Failure;
use crate::report::{Item, Queue, Stream};
use crate::respond::{Actions, Responders};
use crate::sensors::Sensors;
use crate::signals::Signals;
use crate::summary::Summary;

/// Packets read before signals and outcomes get their turn.
const BATCH: usize = 4096;

/// How old the snapshot of served ports may be when a packet is decided about.
const SERVED_PORTS_AGE: Duration = Duration::from_millis(250);

/// How long what is still coming in is read after the end was asked for.
const LAST_PACKETS: Duration = Duration::from_millis(500);

/// How long responses that are running may go on after the end was asked for.
const LAST_RESPONSES: Duration = Duration::from_secs(5);

/// Everything that runs.
pub(crate) struct Sentry {
    pub(crate) engine: Engine,
    pub(crate) sensors: Sensors,
    pub(crate) served: ServedPorts,
    pub(crate) responders: Responders,
    pub(crate) actions: Arc<Actions>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) signals: Signals,
}

/// Why [`Sentry::run`] came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupted {
    /// The configuration is to be read again.
    Reload,
    /// The own addresses have changed.
    AddressesChanged,
    /// The end.
    Terminate,
}

impl Sentry {
    /// Watches until something is wanted that this thread does not do alone.
    pub(crate) fn run(&mut self) -> Result<Interrupted, Failure> {
        let own = self.sensors.own_addresses().clone();
        loop {
            self.wait()?;
            self.signals.clear();
            if self.signals.terminate() {
                return Ok(Interrupted::Terminate);
            }
            if self.signals.take_reload() {
                return Ok(Interrupted::Reload);
            }
            self.take_answers();
            self.drain()?;
            self.engine.handle_timeout(monotonic());
            self.hand_on();
            if *self.sensors.own_addresses() != own {
                return Ok(Interrupted::AddressesChanged);
            }
        }
    }

    /// Waits for packets, outcomes, signals or the engine's time.
    fn wait(&self) -> Result<(), Failure> {
        let own: [BorrowedFd<'_>; 2] = [self.responders.descriptor(), self.signals.descriptor()];
        let mut fds: Vec<PollFd<'_>> = self
            .sensors
            .descriptors()
            .into_iter()
            .flatten()
            .chain(own)
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        let timeout = self.engine.poll_timeout().map(|due| {
            let left = due.since(monotonic());
            Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 })
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Failure::system("cannot wait for packets")(error)),
        }
    }

    /// Reads one batch of packets; what is left makes the next wait short.
    fn drain(&mut self) -> Result<Drained, Failure> {
        let Self { engine, sensors, served, .. } = self;
        let now = monotonic();
        let drained = sensors.drain(BATCH, &mut |observation: &Observation| {
            served.refresh(engine, now);
            engine.observe(observation, now).reason
        })?;
        Ok(drained)
    }

    fn take_answers(&mut self) {
        let now = monotonic();
        for answer in self.responders.answers() {
            self.engine.handle_outcome(answer.id, answer.outcome, now);
        }
    }

    /// Gives events to the reporter and effects to the responders.
    fn hand_on(&mut self) {
        while let Some(effect) = self.engine.poll_effect() {
            if let Effect::Respond(response) = effect {
                self.responders.respond(response, Arc::clone(&self.actions));
            }
        }
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(Item::Event));
    }

    /// Ends in good order: reads what the kernel still holds, lets running
    /// responses end, and tells of every probe that waits.
    pub(crate) fn close(mut self) -> Summary {
        // A sensor that breaks now has nothing more to say.
        let end = monotonic().after(LAST_PACKETS);
        while let Ok(Drained::More) = self.drain()
            && monotonic() < end
        {}
        self.take_answers();
        self.hand_on();
        let (answers, unfinished) = self.responders.finish(LAST_RESPONSES);
        for answer in answers {
            self.engine.handle_outcome(answer.id, answer.outcome, monotonic());
        }
        self.engine.close();
        self.queue.extend(std::iter::from_fn(|| self.engine.poll_event()).map(Item::Event));
        if unfinished.not_begun + unfinished.not_ended > 0 {
            let line = format!(
                "{} responses were not begun and {} did not end in time",
                unfinished.not_begun, unfinished.not_ended
            );
            self.queue.push(Item::Line(Stream::Error, line));
        }
        let (sensors, answers) = (self.sensors.stats(), self.sensors.answers());
        Summary { sensors, answers, probes: self.engine.statistics().probes(), live: true }
    }
}

/// The engine's snapshot of served ports, kept fresh while packets arrive.
#[derive(Debug)]
pub(crate) struct ServedPorts {
    /// Whether anyone asks for it.
    pub(crate) wanted: bool,
    taken: Option<Instant>,
}

impl ServedPorts {
    pub(crate) const fn new(wanted: bool) -> Self {
        Self { wanted, taken: None }
    }

    /// Takes a new snapshot if the last one is too old; most calls only compare
    /// two numbers. Without packets, nothing is asked of the kernel.
    fn refresh(&mut self, engine: &mut Engine, now: Instant) {
        let fresh = self.taken.is_some_and(|taken| now.since(taken) < SERVED_PORTS_AGE);
        if fresh || !self.wanted {
            return;
        }
        self.taken = Some(now);
        match served_ports() {
            Ok(served) => engine.set_served_ports(served),
            Err(error) => log::warn!("cannot see which ports are served: {error}"),
        }
    }
}

/// The monotonic clock, for the engine.
fn monotonic() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    Instant::from_nanos(now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned())
}
