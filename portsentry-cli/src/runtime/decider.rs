//! Passes observations to the engine.

use std::time::Duration;

use portsentry_capture::served_ports;
use portsentry_core::{Engine, Instant, Observation, Reason};

/// Number of observations that are decided together: as many as the engine prefetches in one batch.
const HELD: usize = 64;

/// Maximum age of the snapshot of served ports when a packet is decided.
const SERVED_PORTS_AGE: Duration = Duration::from_millis(250);

/// Longest time between two snapshots while no packets arrive. The engine remembers a port from
/// the first snapshot without it, so this is the inaccuracy of `SERVED_GRACE`.
const SERVED_PORTS_INTERVAL: Duration = Duration::from_secs(10);

/// Decides the observations that the sensors read in one batch.
pub(crate) struct Decider<'a> {
    pub(super) engine: &'a mut Engine,
    pub(super) served: &'a mut ServedPorts,
    /// Observations that wait for a decision, at most [`HELD`].
    pub(super) held: &'a mut Vec<Observation>,
    pub(super) now: Instant,
}

impl Decider<'_> {
    /// Decides immediately.
    pub(crate) fn decide(&mut self, observation: &Observation) -> Reason {
        self.served.refresh(self.engine, self.now);
        self.engine.observe(observation, self.now).reason
    }

    /// Decides when enough observations are held, or at [`decide_held`](Self::decide_held).
    pub(crate) fn hold(&mut self, observation: &Observation) {
        self.held.push(*observation);
        if self.held.len() >= HELD {
            self.decide_held();
        }
    }

    /// Decides all held observations.
    pub(crate) fn decide_held(&mut self) {
        if !self.held.is_empty() {
            self.served.refresh(self.engine, self.now);
            self.engine.observe_batch(self.held, self.now);
            self.held.clear();
        }
    }
}

/// The engine's snapshot of served ports, refreshed while packets arrive, and from time to time
/// without packets.
#[derive(Debug)]
pub(crate) struct ServedPorts {
    /// Whether the engine needs the snapshot.
    wanted: bool,
    /// Time between two snapshots without packets, `None` if they are not needed.
    interval: Option<Duration>,
    taken: Option<Instant>,
    /// Whether the last snapshot failed, which was logged.
    fails: bool,
}

impl ServedPorts {
    /// Creates a snapshot that [`set`](Self::set) enables.
    pub(crate) const fn new() -> Self {
        Self { wanted: false, interval: None, taken: None, fails: false }
    }

    /// Sets whether the engine needs snapshots, and for which time it remembers ports
    /// (`SERVED_GRACE`).
    pub(crate) fn set(&mut self, wanted: bool, grace: Duration) {
        let interval = (grace / 10).clamp(SERVED_PORTS_AGE, SERVED_PORTS_INTERVAL);
        (self.wanted, self.interval) = (wanted, (!grace.is_zero()).then_some(interval));
    }

    /// Returns the time at which to take a snapshot even without packets, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        let interval = self.interval.filter(|_| self.wanted)?;
        Some(self.taken.map_or_else(Instant::default, |taken| taken.after(interval)))
    }

    /// Takes a new snapshot if the last one is too old; most calls only compare two numbers.
    pub(super) fn refresh(&mut self, engine: &mut Engine, now: Instant) {
        let fresh = self.taken.is_some_and(|taken| now.since(taken) < SERVED_PORTS_AGE);
        if fresh || !self.wanted {
            return;
        }
        self.taken = Some(now);
        match served_ports() {
            Ok(served) => {
                engine.set_served_ports(served.taken_at(now));
                if std::mem::take(&mut self.fails) {
                    log::warn!("can read the socket tables again");
                }
            }
            // Logged once, not four times a second.
            Err(error) if !std::mem::replace(&mut self.fails, true) => {
                log::warn!(
                    "cannot read the socket tables, using the last snapshot of served ports: {error}"
                );
            }
            Err(_) => {}
        }
    }
}
