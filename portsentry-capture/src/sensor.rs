//! What every source of observations has in common.
//!
//! A sensor is drained by its owner when its descriptor is readable. It never
//! blocks, prints or decides; it counts what it could not hand out.

use std::io;
#[cfg(unix)]
use std::os::fd::BorrowedFd;

use portsentry_core::Observation;
use thiserror::Error;

use crate::{ReassemblyStats, Tally};

/// A source of observations: an interface, a capture file, bound sockets.
///
/// One that replays a list takes a few lines:
///
/// ```
/// use portsentry_capture::{Drained, Sensor, SensorError, SensorStats};
/// use portsentry_core::Observation;
///
/// struct Replay(Vec<Observation>);
///
/// impl Sensor for Replay {
///     fn name(&self) -> &str {
///         "replay"
///     }
///     fn drain(
///         &mut self,
///         budget: usize,
///         sink: &mut dyn FnMut(&Observation),
///     ) -> Result<Drained, SensorError> {
///         let taken = budget.min(self.0.len());
///         for observation in self.0.drain(..taken) {
///             sink(&observation);
///         }
///         Ok(if self.0.is_empty() { Drained::End } else { Drained::More })
///     }
///     fn stats(&mut self) -> SensorStats {
///         SensorStats::default()
///     }
/// }
///
/// let mut sensor = Replay(Vec::new());
/// assert_eq!(sensor.drain(64, &mut |_| ()).unwrap(), Drained::End);
/// ```
pub trait Sensor {
    /// What the sensor listens to, for people: an interface, a file.
    fn name(&self) -> &str;

    /// Returns a descriptor that is readable when there is something to drain. `None`, the
    /// default: the sensor is always ready, like a file.
    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Hands the observations of about `budget` packets to `sink`, in the
    /// order of arrival, without allocating and without blocking.
    ///
    /// # Errors
    ///
    /// When the source cannot be read any further. What was read before has
    /// been handed out by then, and the next call gives [`Drained::End`] unless
    /// the sensor's documentation says otherwise.
    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError>;

    /// Counters since the sensor was opened. May cost a system call.
    fn stats(&mut self) -> SensorStats;
}

/// How a call of [`Sensor::drain`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Drained {
    /// Nothing is left for now.
    Empty,
    /// The budget is used up: call again.
    More,
    /// The source has ended.
    End,
}

/// What a sensor has seen and lost since it was opened, in packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SensorStats {
    /// Packets that reached the sensor.
    pub received: u64,
    /// Packets that the kernel dropped because the sensor was too slow.
    pub dropped_by_kernel: u64,
    /// Packets that the interface or its driver dropped.
    pub dropped_by_interface: u64,
    /// Received packets that gave no observation, by reason.
    pub tally: Tally,
    /// What became of datagrams that came in fragments.
    pub reassembly: ReassemblyStats,
    /// What this host itself asked over UDP.
    pub queries: QueryStats,
    /// What went from one ring to another, where there are several.
    pub rings: RingStats,
}

/// Observations that the kernel gave to another ring than that of their source,
/// which happens while rings are opened or closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RingStats {
    /// Handed on to the right one.
    pub handed_on: u64,
    /// Lost, because that one had no room.
    pub lost: u64,
}

impl RingStats {
    /// Adds what `other` has counted.
    pub const fn merge(&mut self, other: &Self) {
        self.handed_on += other.handed_on;
        self.lost += other.lost;
    }
}

/// What a sensor has seen of the UDP datagrams that this host sends from
/// monitored ports, so that their answers are not taken for probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QueryStats {
    /// Datagrams seen.
    pub seen: u64,
    /// Queries forgotten before their time, because others needed the room.
    pub evicted: u64,
    /// Datagrams not seen, because the sensor was too slow.
    pub missed: u64,
}

impl QueryStats {
    /// Adds what `other` has counted.
    pub const fn merge(&mut self, other: &Self) {
        self.seen += other.seen;
        self.evicted += other.evicted;
        self.missed += other.missed;
    }

    /// The larger figures, for two that have looked at the same datagrams.
    #[must_use]
    pub fn most(&self, other: &Self) -> Self {
        Self {
            seen: self.seen.max(other.seen),
            evicted: self.evicted.max(other.evicted),
            missed: self.missed.max(other.missed),
        }
    }
}

impl SensorStats {
    /// Adds the counters of another sensor.
    pub fn merge(&mut self, other: &Self) {
        self.received += other.received;
        self.dropped_by_kernel += other.dropped_by_kernel;
        self.dropped_by_interface += other.dropped_by_interface;
        self.tally.merge(&other.tally);
        self.reassembly.merge(&other.reassembly);
        self.queries.merge(&other.queries);
        self.rings.merge(&other.rings);
    }
}

/// Why a sensor cannot be opened or read any further.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SensorError {
    /// The file is neither pcap nor pcapng.
    #[error("{name}: not a capture file (expected pcap or pcapng)")]
    #[non_exhaustive]
    NotACapture {
        /// The file.
        name: String,
    },

    /// Frames of this link type cannot be decoded.
    #[error(
        "{name}: link type {number} is not supported; \
         supported are Ethernet, raw IP, BSD loopback and Linux cooked captures"
    )]
    #[non_exhaustive]
    UnsupportedLinkType {
        /// The file or interface.
        name: String,
        /// Its number in the registry of link types (DLT, LINKTYPE_).
        number: i32,
    },

    /// The file ends in the middle of a packet or block.
    #[error("{name}: cut off after {packets} packets, at byte {offset}")]
    #[non_exhaustive]
    Truncated {
        /// The file.
        name: String,
        /// Packets read before.
        packets: u64,
        /// Where the incomplete record begins, in bytes from the start.
        offset: u64,
    },

    /// The file contradicts its format.
    #[error("{name}: damaged after {packets} packets, at byte {offset}: {reason}")]
    #[non_exhaustive]
    Corrupt {
        /// The file.
        name: String,
        /// Packets read before.
        packets: u64,
        /// Where the damaged record begins, in bytes from the start.
        offset: u64,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// None of the interfaces asked for exists.
    #[error("{name}: no such interface; there are {existing}")]
    #[non_exhaustive]
    NoSuchInterface {
        /// The interface, or several with commas between.
        name: String,
        /// Those that there are, likewise.
        existing: String,
    },

    /// The interface was removed or went down.
    #[error("{name}: the interface is gone")]
    #[non_exhaustive]
    InterfaceGone {
        /// The interface.
        name: String,
    },

    /// The process may not do what the sensor needs.
    #[error("{name}: {capability} is needed; run as root or grant that capability")]
    #[non_exhaustive]
    MissingPrivilege {
        /// The interface or socket.
        name: String,
        /// The capability, as in `capabilities(7)`: `CAP_NET_RAW`.
        capability: &'static str,
    },

    /// The kernel has no memory for the capture buffer.
    #[error(
        "{name}: the kernel has no memory for a capture buffer of {mebibytes} MiB; \
         set CAPTURE_BUFFER to less"
    )]
    #[non_exhaustive]
    NoRoomForBuffer {
        /// The interface.
        name: String,
        /// The size of the buffer.
        mebibytes: u32,
    },

    /// The capture library refused.
    #[error("{name}: {message}")]
    #[non_exhaustive]
    Backend {
        /// The interface.
        name: String,
        /// The library's own words.
        message: String,
    },

    /// More descriptors are needed than the process may have.
    #[error(
        "{ports} monitored ports need {needed} open files, and {allowed} are allowed; raise the limit \
         (ulimit -n {needed}, or LimitNOFILE={needed} in the service's unit) or monitor fewer ports"
    )]
    #[non_exhaustive]
    DescriptorLimit {
        /// Sockets to be bound.
        ports: usize,
        /// Descriptors that these and the rest of the program take.
        needed: u64,
        /// Descriptors that the process may have, after all that could be done.
        allowed: u64,
    },

    /// None of the ports could be bound.
    #[error("{name}: none of the monitored ports can be listened on")]
    #[non_exhaustive]
    NoPortBound {
        /// The sensor.
        name: String,
    },

    /// The operating system refused.
    #[error("{name}: {source}")]
    #[non_exhaustive]
    Io {
        /// The file, interface or socket.
        name: String,
        /// Its words.
        source: io::Error,
    },
}

impl SensorError {
    /// Creates an [`Io`](Self::Io) error of the file, interface or socket `name`.
    pub fn io(name: impl Into<String>, source: io::Error) -> Self {
        Self::Io { name: name.into(), source }
    }

    /// Creates a [`Backend`](Self::Backend) error with the message of a capture library.
    pub fn backend(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Backend { name: name.into(), message: message.into() }
    }

    /// Creates an [`InterfaceGone`](Self::InterfaceGone) error.
    pub fn interface_gone(name: impl Into<String>) -> Self {
        Self::InterfaceGone { name: name.into() }
    }

    /// Creates a [`MissingPrivilege`](Self::MissingPrivilege) error for a capability named as
    /// in `capabilities(7)`.
    pub fn missing_privilege(name: impl Into<String>, capability: &'static str) -> Self {
        Self::MissingPrivilege { name: name.into(), capability }
    }
}
