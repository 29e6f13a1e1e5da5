//! The kinds of packet or connection that reveal an attempt.

use core::fmt;

use crate::{ScanKind, TcpFlags};

/// The packet or connection of an attempt, as the sensor saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Evidence {
    /// A TCP segment on the wire. Its source may be forged.
    Segment(TcpSegment),
    /// A UDP datagram on the wire. Its source may be forged.
    Datagram,
    /// A TCP handshake completed with a socket that the sensor bound. The source replied,
    /// so its address is not forged.
    Connection,
    /// A UDP datagram received by a socket that the sensor bound. Its source
    /// may be forged.
    Message,
}

/// The fields of a TCP header that distinguish kinds of scan and scanners.
///
/// Create it with [`TcpSegment::new`]. Set the other fields with the `with_*` methods or
/// by assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TcpSegment {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    #[cfg_attr(feature = "serde", serde(default))]
    pub sequence: u32,
    /// Unscaled window.
    #[cfg_attr(feature = "serde", serde(default))]
    pub window: u16,
}

impl TcpSegment {
    /// Creates a segment with these control bits. All other fields are 0.
    #[inline]
    pub const fn new(flags: TcpFlags) -> Self {
        Self { flags, sequence: 0, window: 0 }
    }

    /// Sets the sequence number.
    #[must_use]
    #[inline]
    pub const fn with_sequence(mut self, sequence: u32) -> Self {
        self.sequence = sequence;
        self
    }

    /// Sets the unscaled window.
    #[must_use]
    #[inline]
    pub const fn with_window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }
}

/// Transport protocol of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

/// The mode of the sensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Mode {
    /// The sensor reads packets. The port remains closed.
    Stealth,
    /// The sensor binds the port and replies on it.
    Connect,
}

/// Whether the IP header of a packet had options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum IpOptions {
    /// An IPv4 header longer than 20 bytes.
    Present,
    /// An IPv4 header of 20 bytes.
    Absent,
    /// IPv6, which has no such options, or a sensor that cannot see the header.
    #[default]
    Unknown,
}

impl Evidence {
    /// Returns the transport protocol.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Segment(_) | Self::Connection => Protocol::Tcp,
            Self::Datagram | Self::Message => Protocol::Udp,
        }
    }

    /// Returns the mode of the sensor.
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Segment(_) | Self::Datagram => Mode::Stealth,
            Self::Connection | Self::Message => Mode::Connect,
        }
    }

    /// Returns the kind of scan that this packet or connection matches.
    pub const fn kind(&self) -> ScanKind {
        match self {
            Self::Connection | Self::Message => ScanKind::Connect,
            Self::Datagram => ScanKind::Udp,
            Self::Segment(segment) => ScanKind::of_flags(segment.flags.without_ecn()),
        }
    }

    /// Returns whether this starts an exchange: everything except a TCP segment with ACK or
    /// RST. Such segments are replies or belong to old connections, for example
    /// backscatter (RFC 9293 section 3.10.7). Only a table of connections could classify
    /// them.
    pub const fn is_opener(&self) -> bool {
        match self {
            Self::Segment(segment) => {
                !segment.flags.contains(TcpFlags::ACK) && !segment.flags.contains(TcpFlags::RST)
            }
            _ => true,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stealth => "stealth",
            Self::Connect => "connect",
        })
    }
}

impl fmt::Display for IpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Present => "set",
            Self::Absent => "not set",
            Self::Unknown => "unknown",
        })
    }
}
