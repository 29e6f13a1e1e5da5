//! What the engine has to tell, in the order it happened.

use core::net::IpAddr;

use crate::{Observation, Protocol, Reason};

/// Something that an administrator wants to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    ServedPort {
        /// Who sent it.
        source: IpAddr,
        /// The transport protocol.
        protocol: Protocol,
        /// The served port.
        port: u16,
    },
    /// [`Event::ServedPort`] was held back this often in the last minute,
    /// because the same source had sent to the same port.
    ServedPortHeldBack {
        /// How often.
        packets: u64,
    },
    /// Probes that would have been responded to, but that minute's share of
    /// responses was used up.
    RateLimited {
        /// How many since the last such event.
        probes: u64,
        /// The limit, responses a minute.
        limit: u32,
    },
    /// Probes that would have been responded to, but too much was under way.
    Overloaded {
        /// How many since the last such event.
        probes: u64,
    },
}

/// A probe of a monitored port and how the decision about it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Probe {
    /// The attempt.
    pub observation: Observation,
    /// Where the decision ended; gives the flags of the classic line.
    pub reason: Reason,
}
