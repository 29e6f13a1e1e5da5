//! The interface of all sensors.
//!
//! The owner of a sensor drains it when its descriptor is readable. A sensor never blocks, prints
//! or decides, and counts the packets that it did not hand out.

use std::io;
#[cfg(unix)]
use std::os::fd::BorrowedFd;

use portsentry_core::Observation;
use thiserror::Error;

use crate::{ReassemblyStats, Tally};

/// A source of observations: an interface, a capture file, bound sockets.
///
/// A sensor that replays a list:
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
    /// Returns the name of the source for messages: an interface, a file.
    fn name(&self) -> &str;

    /// Returns a descriptor that is readable when there is something to drain. The default is
    /// `None`: the sensor is always ready, like a file.
    #[cfg(unix)]
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Passes the observations of about `budget` packets to `sink`, in order of arrival. Does not
    /// allocate or block.
    ///
    /// # Errors
    ///
    /// If the source cannot be read any more. Packets read before have been handed out by then,
    /// and the next call returns [`Drained::End`] unless the sensor documents another result.
    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError>;

    /// Returns the counters since the sensor was opened. May cost a system call.
    fn stats(&mut self) -> SensorStats;
}

/// Result of [`Sensor::drain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Drained {
    /// Nothing is left to read now.
    Empty,
    /// The budget is used up; call again.
    More,
    /// The source has ended.
    End,
}

/// Counters of a sensor since it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SensorStats {
    /// Number of packets that reached the sensor.
    pub received: u64,
    /// Number of packets that the kernel dropped because the sensor was too slow.
    pub dropped_by_kernel: u64,
    /// Number of packets that the interface or its driver dropped.
    pub dropped_by_interface: u64,
    /// Received packets that yielded no observation, by reason.
    pub tally: Tally,
    /// Counters of fragmented datagrams.
    pub reassembly: ReassemblyStats,
    /// Counters of the UDP queries of this host.
    pub queries: QueryStats,
    /// Counters of observations that went from one ring to another, with several rings.
    pub rings: RingStats,
}

/// Counters of observations that the kernel delivered to another ring than that of their
/// source, which happens while rings are opened or closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RingStats {
    /// Number of observations handed on to the ring of their source.
    pub handed_on: u64,
    /// Number of observations lost because the queue of that ring was full.
    pub lost: u64,
}

impl RingStats {
    /// Adds the counters of `other`.
    pub const fn merge(&mut self, other: &Self) {
        self.handed_on += other.handed_on;
        self.lost += other.lost;
    }
}

/// Counters of the UDP datagrams that this host sends from monitored ports. The sensor records
/// them so that replies to them do not count as probes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct QueryStats {
    /// Number of recorded datagrams.
    pub seen: u64,
    /// Number of queries evicted before their lifetime ended.
    pub evicted: u64,
    /// Number of datagrams missed because the sensor was too slow.
    pub missed: u64,
}

impl QueryStats {
    /// Adds the counters of `other`.
    pub const fn merge(&mut self, other: &Self) {
        self.seen += other.seen;
        self.evicted += other.evicted;
        self.missed += other.missed;
    }

    /// Returns the larger of each pair of counters, for two sensors that record the same
    /// datagrams.
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

/// Reason why a sensor cannot be opened or read any more.
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
        /// Number in the registry of link types (DLT, LINKTYPE_).
        number: i32,
    },

    /// The file ends in the middle of a packet or block.
    #[error("{name}: cut off after {packets} packets, at byte {offset}")]
    #[non_exhaustive]
    Truncated {
        /// The file.
        name: String,
        /// Number of packets read before.
        packets: u64,
        /// Offset of the incomplete record in the file, in bytes.
        offset: u64,
    },

    /// The file contradicts its format.
    #[error("{name}: damaged after {packets} packets, at byte {offset}: {reason}")]
    #[non_exhaustive]
    Corrupt {
        /// The file.
        name: String,
        /// Number of packets read before.
        packets: u64,
        /// Offset of the damaged record in the file, in bytes.
        offset: u64,
        /// Reason why the record is invalid.
        reason: &'static str,
    },

    /// None of the named interfaces exists.
    #[error("{name}: no such interface; there are {existing}")]
    #[non_exhaustive]
    NoSuchInterface {
        /// The interface, or a list separated by commas.
        name: String,
        /// The existing interfaces, separated by commas.
        existing: String,
    },

    /// The interface was removed or went down.
    #[error("{name}: the interface is gone")]
    #[non_exhaustive]
    InterfaceGone {
        /// The interface.
        name: String,
    },

    /// The process lacks a capability that the sensor needs.
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
         lower CAPTURE_BUFFER"
    )]
    #[non_exhaustive]
    NoRoomForBuffer {
        /// The interface.
        name: String,
        /// Size of the buffer, in MiB.
        mebibytes: u32,
    },

    /// The capture library returned an error.
    #[error("{name}: {message}")]
    #[non_exhaustive]
    Backend {
        /// The interface.
        name: String,
        /// Message of the library.
        message: String,
    },

    /// More descriptors are needed than the process may have.
    #[error(
        "{ports} monitored ports need {needed} open files, and {allowed} are allowed; raise the \
         limit (ulimit -n {needed}, or LimitNOFILE={needed} in the service's unit) or monitor \
         fewer ports"
    )]
    #[non_exhaustive]
    DescriptorLimit {
        /// Number of sockets to bind.
        ports: usize,
        /// Number of descriptors needed for them and for the rest of the program.
        needed: u64,
        /// Number of descriptors that the process may have, after raising the limit.
        allowed: u64,
    },

    /// None of the ports could be bound.
    #[error("{name}: cannot listen on any of the monitored ports")]
    #[non_exhaustive]
    NoPortBound {
        /// The sensor.
        name: String,
    },

    /// The operating system returned an error.
    #[error("{name}: {source}")]
    #[non_exhaustive]
    Io {
        /// The file, interface or socket.
        name: String,
        /// The error of the operating system.
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
