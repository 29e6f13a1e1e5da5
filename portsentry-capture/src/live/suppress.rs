//! Properties of observations that only several captures together show.
//!
//! The same packet may be captured on two interfaces, and a datagram may reply to a query of
//! this host. Both are counted and not passed on. A SYN that this host has accepted is marked.

use std::io;
use std::os::fd::BorrowedFd;

use portsentry_core::Observation;

use super::accepted::AcceptedConnections;
use super::duplicates::Duplicates;
use super::solicited::Queries;
use super::{LiveSensor, Watched};
use crate::{Drained, Interface, Rejected, Sensor, SensorError, SensorStats, Tally};

/// Suppresses duplicates and solicited replies.
#[derive(Debug)]
pub(super) struct Suppressor {
    /// Whether one packet can be captured on two interfaces.
    several_interfaces: bool,
    duplicates: Duplicates,
    queries: Queries,
    accepted: AcceptedConnections,
    tally: Tally,
}

impl Suppressor {
    /// Creates a suppressor that knows no packets and no queries.
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            several_interfaces: false,
            duplicates: Duplicates::new(),
            queries: Queries::new()?,
            accepted: AcceptedConnections::default(),
            tally: Tally::default(),
        })
    }

    /// Readable when [`handle_ready`](Self::handle_ready) has work.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.queries.descriptor()
    }

    /// Handles the events that made [`descriptor`](Self::descriptor) readable.
    pub(super) fn handle_ready(&mut self) -> io::Result<()> {
        self.queries.handle_ready()
    }

    /// Watches for queries from these addresses and ports, and for connections to them. Call it
    /// before the captures change, so that every query whose reply is captured is known.
    pub(super) fn watch(&mut self, watched: &Watched) {
        self.queries.watch(watched);
        self.accepted.watch(watched);
    }

    /// Takes the broadcast addresses of `interfaces`, and how they are related.
    pub(super) fn set_interfaces(&mut self, interfaces: &[Interface]) {
        self.duplicates.set_interfaces(interfaces);
        self.queries.set_broadcasts(interfaces);
    }

    /// Logs, once, why queries cannot be captured.
    pub(super) fn log_failure(&mut self) {
        self.queries.log_failure();
    }

    /// Starts a round over the captures.
    pub(super) fn start_round(&mut self, several_interfaces: bool) {
        self.several_interfaces = several_interfaces;
        self.queries.start_round();
        self.accepted.start_round();
    }

    /// Drains `sensor` and passes on to `sink` the observations that are not suppressed. Marks
    /// those that open a connection which this host has accepted.
    pub(super) fn drain(
        &mut self,
        sensor: &mut dyn Sensor,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        sensor.drain(budget, &mut |observation| match self.reason(observation) {
            None if self.accepted.contains(observation) => sink(&observation.accepted()),
            None => sink(observation),
            Some(reason) => self.tally.add(reason),
        })
    }

    /// Passes on the expired packets of `sensor` in the same way. Returns whether others wait.
    pub(super) fn expire(
        &mut self,
        sensor: &mut dyn LiveSensor,
        sink: &mut dyn FnMut(&Observation),
    ) -> bool {
        sensor.expire(&mut |observation| match self.reason(observation) {
            None => sink(observation),
            Some(reason) => self.tally.add(reason),
        })
    }

    /// Adds the counters of this suppressor. One system call.
    pub(super) fn add_stats(&mut self, stats: &mut SensorStats) {
        stats.tally.merge(&self.tally);
        stats.queries.merge(&self.queries.stats());
    }

    fn reason(&mut self, observation: &Observation) -> Option<Rejected> {
        if self.several_interfaces && self.duplicates.is_duplicate(observation) {
            Some(Rejected::Duplicate)
        } else if self.queries.is_reply(observation) {
            Some(Rejected::SolicitedReply)
        } else {
            None
        }
    }
}
