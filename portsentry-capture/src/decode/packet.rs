//! The result of decoding.

use std::net::{IpAddr, SocketAddr};

use portsentry_core::{Evidence, IpOptions, Observation, Timestamp};

use super::Rejected;

/// A decoded frame: an [`Observation`] without the time of arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Packet {
    /// Source address in the IP header.
    pub source: IpAddr,
    /// Destination address in the IP header.
    pub target: IpAddr,
    /// Source port.
    pub source_port: u16,
    /// Destination port.
    pub target_port: u16,
    /// Fields of the transport header.
    pub evidence: Evidence,
    /// Whether the IPv4 header has options.
    pub ip_options: IpOptions,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Identification of the IPv4 header; `None` for IPv6.
    pub ip_id: Option<u16>,
    /// Index of the receiving interface if the link header contains it (Linux cooked v2),
    /// otherwise 0.
    pub interface: u32,
    /// Minimum length of the frame on the wire, in bytes: the link header and the length in the
    /// IP header.
    pub wire_length: usize,
}

impl Packet {
    /// Creates a packet with these header fields. IP options, TTL, identification, interface
    /// and wire length are unknown, absent or 0 until they are assigned.
    #[must_use]
    pub const fn new(source: SocketAddr, target: SocketAddr, evidence: Evidence) -> Self {
        Self {
            source: source.ip(),
            target: target.ip(),
            source_port: source.port(),
            target_port: target.port(),
            evidence,
            ip_options: IpOptions::Unknown,
            ttl: 0,
            ip_id: None,
            interface: 0,
            wire_length: 0,
        }
    }

    /// Sets whether the IPv4 header has options.
    #[must_use]
    pub const fn with_ip_options(self, ip_options: IpOptions) -> Self {
        Self { ip_options, ..self }
    }

    /// Sets the time to live, or hop limit.
    #[must_use]
    pub const fn with_ttl(self, ttl: u8) -> Self {
        Self { ttl, ..self }
    }

    /// Sets the identification of the IPv4 header.
    #[must_use]
    pub const fn with_ip_id(self, ip_id: u16) -> Self {
        Self { ip_id: Some(ip_id), ..self }
    }

    /// Sets the index of the receiving interface, as contained in the link header.
    #[must_use]
    pub const fn with_interface(self, interface: u32) -> Self {
        Self { interface, ..self }
    }

    /// Sets the minimum length of the frame on the wire, in bytes.
    #[must_use]
    pub const fn with_wire_length(self, wire_length: usize) -> Self {
        Self { wire_length, ..self }
    }

    /// Returns the observation of this packet, which arrived at the wall-clock time `time` on the
    /// interface with index `interface` (0: not known). An interface that the frame itself
    /// contains has precedence. The caller sets [`Observation::at`].
    #[must_use]
    #[inline]
    pub const fn observation(&self, time: Timestamp, interface: u32) -> Observation {
        let interface = if self.interface == 0 { interface } else { self.interface };
        let source = (self.source, self.source_port);
        let target = (self.target, self.target_port);
        let mut observation = Observation::between(source, target, self.evidence);
        observation.time = time;
        observation.interface = interface;
        observation.ip_options = self.ip_options;
        observation.ttl = Some(self.ttl);
        observation.ip_id = self.ip_id;
        observation
    }

    /// Returns the packet, unless its frame was shorter on the wire than the length in its IP
    /// header. Every stack drops such a packet.
    ///
    /// `length` is the length of the frame on the wire in bytes, not of its captured part.
    ///
    /// # Errors
    ///
    /// [`Rejected::ShortFrame`] if the frame was too short.
    pub const fn on_wire(self, length: usize) -> Result<Self, Rejected> {
        if length < self.wire_length { Err(Rejected::ShortFrame) } else { Ok(self) }
    }
}
