//! The events that the engine reports, in the order of their causes.

use core::net::IpAddr;

use crate::{Observation, Protocol, Reason};

/// A fact for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Event {
    /// A probe of a monitored port. Each probe has exactly one event.
    Probe(Probe),
    /// A packet to a monitored port that a local program serves. Only the first packet per
    /// minute from one source to one port has an event.
    #[non_exhaustive]
    ServedPort {
        /// The sender.
        source: IpAddr,
        /// The address of this host to which the packet was sent.
        target: IpAddr,
        /// The transport protocol.
        protocol: Protocol,
        /// The served port.
        port: u16,
    },
    /// Events [`Event::ServedPort`] that were suppressed in the last minute, because the
    /// same source had already sent to the same port.
    #[non_exhaustive]
    ServedPortSuppressed {
        /// Number of suppressed events.
        packets: u64,
    },
    /// Probes without a response, because the limit of responses per minute was reached.
    #[non_exhaustive]
    RateLimited {
        /// Number of probes since the last such event.
        probes: u64,
        /// The limit, in responses per minute.
        limit: u32,
    },
    /// Probes without a response, because too many responses were in progress.
    #[non_exhaustive]
    Overloaded {
        /// Number of probes since the last such event.
        probes: u64,
    },
}

/// A probe of a monitored port and how the decision about it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Probe {
    /// The attempt.
    pub observation: Observation,
    /// The rule that ended the decision. It defines the flags of the classic line.
    pub reason: Reason,
}

impl Probe {
    /// Creates a probe from an observation and the reason that ended the decision.
    #[must_use]
    #[inline]
    pub const fn new(observation: Observation, reason: Reason) -> Self {
        Self { observation, reason }
    }
}

/// The engine creates events. These constructors are for tests, and for programs that
/// store events in another form.
impl Event {
    /// Creates an [`Event::Probe`] of `observation`.
    #[must_use]
    #[inline]
    pub const fn probe(observation: Observation, reason: Reason) -> Self {
        Self::Probe(Probe::new(observation, reason))
    }

    /// Creates an [`Event::ServedPort`] for the packet of `observation`.
    #[must_use]
    pub const fn served_port(observation: &Observation) -> Self {
        Self::ServedPort {
            source: observation.source,
            target: observation.target,
            protocol: observation.protocol(),
            port: observation.target_port,
        }
    }

    /// Creates an [`Event::ServedPortSuppressed`].
    #[must_use]
    pub const fn served_port_suppressed(packets: u64) -> Self {
        Self::ServedPortSuppressed { packets }
    }

    /// Creates an [`Event::RateLimited`].
    #[must_use]
    pub const fn rate_limited(probes: u64, limit: u32) -> Self {
        Self::RateLimited { probes, limit }
    }

    /// Creates an [`Event::Overloaded`].
    #[must_use]
    pub const fn overloaded(probes: u64) -> Self {
        Self::Overloaded { probes }
    }
}
