//! The engine's reports, in the order of their causes.

use core::net::IpAddr;

use crate::{Observation, Protocol, Reason};

/// Something that an administrator wants to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Event {
    /// A monitored port was probed: exactly one for each probe.
    Probe(Probe),
    /// A packet to a monitored port that a local program serves; the first in
    /// a minute of that source to that port.
    #[non_exhaustive]
    ServedPort {
        /// The sender.
        source: IpAddr,
        /// The address of this host that the packet was sent to.
        target: IpAddr,
        /// The transport protocol.
        protocol: Protocol,
        /// The served port.
        port: u16,
    },
    /// [`Event::ServedPort`] was held back this often in the last minute,
    /// because the same source had sent to the same port.
    #[non_exhaustive]
    ServedPortSuppressed {
        /// How often.
        packets: u64,
    },
    /// Probes that would have been responded to, but that minute's share of
    /// responses was used up.
    #[non_exhaustive]
    RateLimited {
        /// How many since the last such event.
        probes: u64,
        /// The limit, responses a minute.
        limit: u32,
    },
    /// Probes that would have been responded to, but too much was under way.
    #[non_exhaustive]
    Overloaded {
        /// How many since the last such event.
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
    /// Where the decision ended; gives the flags of the classic line.
    pub reason: Reason,
}

impl Probe {
    /// The probe that `observation` showed, with the reason that ended the
    /// decision about it.
    #[must_use]
    #[inline]
    pub const fn new(observation: Observation, reason: Reason) -> Self {
        Self { observation, reason }
    }
}

/// The engine makes events. These constructors are for tests and for programs
/// that store events in a form of their own.
impl Event {
    /// [`Event::Probe`] of `observation`.
    #[must_use]
    #[inline]
    pub const fn probe(observation: Observation, reason: Reason) -> Self {
        Self::Probe(Probe::new(observation, reason))
    }

    /// [`Event::ServedPort`] for the packet that `observation` shows.
    #[must_use]
    pub const fn served_port(observation: &Observation) -> Self {
        Self::ServedPort {
            source: observation.source,
            target: observation.target,
            protocol: observation.protocol(),
            port: observation.target_port,
        }
    }

    /// [`Event::ServedPortSuppressed`].
    #[must_use]
    pub const fn served_port_suppressed(packets: u64) -> Self {
        Self::ServedPortSuppressed { packets }
    }

    /// [`Event::RateLimited`].
    #[must_use]
    pub const fn rate_limited(probes: u64, limit: u32) -> Self {
        Self::RateLimited { probes, limit }
    }

    /// [`Event::Overloaded`].
    #[must_use]
    pub const fn overloaded(probes: u64) -> Self {
        Self::Overloaded { probes }
    }
}
