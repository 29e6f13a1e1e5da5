//! What a sensor tells the engine: one attempt to reach a port.

use core::net::IpAddr;

use crate::{ScanKind, TcpFlags, Timestamp};

/// One attempt to reach a port of this host, as a sensor saw it.
///
/// A plain value that knows nothing of how it was captured. Sensors fill one in
/// per packet (or per accepted connection) and hand it to
/// [`Engine::observe`](crate::Engine::observe); it is small enough to be passed
/// and kept by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Observation {
    /// When the packet was received.
    pub time: Timestamp,
    /// The kernel's index of the receiving interface; 0 when not known.
    pub interface: u32,
    /// The address that the packet names as its sender. Anyone can write any
    /// address there, but for [`Evidence::Connection`].
    pub source: IpAddr,
    /// The address of this host that was probed.
    pub target: IpAddr,
    /// The sender's port.
    pub source_port: u16,
    /// The probed port.
    pub target_port: u16,
    /// What was seen, and with it transport protocol and mode.
    pub evidence: Evidence,
    /// Whether the IP header had options.
    pub ip_options: IpOptions,
    /// Time to live, or hop limit, as received; 0 when not known.
    pub ttl: u8,
    /// The identification field of the IPv4 header; 0 when there is none.
    pub ip_id: u16,
}

/// What a sensor saw of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// The fields of a TCP header that tell one kind of scan, or one scanner, from
/// another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TcpSegment {
    /// Control bits.
    pub flags: TcpFlags,
    /// Sequence number.
    pub sequence: u32,
    /// Window, unscaled.
    pub window: u16,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
}

impl Observation {
    /// The transport protocol.
    pub const fn protocol(&self) -> Protocol {
        self.evidence.protocol()
    }

    /// The mode of the sensor.
    pub const fn mode(&self) -> Mode {
        self.evidence.mode()
    }

    /// What kind of scan this looks like.
    pub const fn kind(&self) -> ScanKind {
        ScanKind::of(&self.evidence)
    }

    /// Whether this opens a contact: everything but a TCP segment with ACK or
    /// RST. Those two are answers and the rest of old connections, and tell
    /// nothing without a table of connections (backscatter, RFC 9293 section
    /// 3.10.7).
    pub const fn is_opener(&self) -> bool {
        match self.evidence {
            Evidence::Segment(segment) => {
                !segment.flags.contains(TcpFlags::ACK) && !segment.flags.contains(TcpFlags::RST)
            }
            _ => true,
        }
    }
}
