//! The kinds of packet or connection that reveal an attempt.

use core::fmt;

use crate::{ScanKind, TcpFlags};

/// What a sensor saw of an attempt.
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
    /// A TCP handshake completed with a socket that the sensor bound: the
    /// source answered, so its address is real.
    Connection,
    /// A UDP datagram received by a socket that the sensor bound. Its source
    /// may be forged.
    Message,
}

/// The fields of a TCP header that distinguish kinds of scan and scanners.
///
/// Made with [`TcpSegment::new`]; set the other fields with the `with_*`
/// methods or by assignment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TcpSegment {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    #[cfg_attr(feature = "serde", serde(default))]
    pub sequence: u32,
    /// Window, unscaled.
    #[cfg_attr(feature = "serde", serde(default))]
    pub window: u16,
}

impl TcpSegment {
    /// A segment with these control bits, all other fields 0.
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

/// How the sensor watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Mode {
    /// Reading packets; the port stays closed.
    Stealth,
    /// Binding the port and answering on it.
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
    /// IPv4 header longer than 20 bytes.
    Present,
    /// IPv4 header of 20 bytes.
    Absent,
    /// IPv6, which has none, or a sensor that cannot see the header.
    #[default]
    Unknown,
}

impl Evidence {
    /// The transport protocol.
    pub const fn protocol(&self) -> Protocol {
        match self {
            Self::Segment(_) | Self::Connection => Protocol::Tcp,
            Self::Datagram | Self::Message => Protocol::Udp,
        }
    }

    /// The mode of the sensor.
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Segment(_) | Self::Datagram => Mode::Stealth,
            Self::Connection | Self::Message => Mode::Connect,
        }
    }

    /// The kind of scan that this looks like.
    pub const fn kind(&self) -> ScanKind {
        match self {
            Self::Connection | Self::Message => ScanKind::Connect,
            Self::Datagram => ScanKind::Udp,
            Self::Segment(segment) => ScanKind::of_flags(segment.flags.without_ecn()),
        }
    }

    /// Whether this opens a contact: everything except a TCP segment with ACK
    /// or RST. Those two are replies and remnants of old connections, and mean
    /// nothing without a table of connections (backscatter, RFC 9293 section
    /// 3.10.7).
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
