//! The input of the engine: one attempt to reach a port.

use core::net::{IpAddr, SocketAddr};

use crate::hash_key::address_bits;
use crate::{
    Evidence, Instant, IpOptions, Mode, Protocol, ScanKind, TcpFlags, TcpSegment, Timestamp,
};

/// One attempt to reach a port of this host, as a sensor saw it.
///
/// An observation is a plain value, independent of the method of capture. A sensor creates
/// one per packet or accepted connection and passes it to
/// [`Engine::observe`](crate::Engine::observe). It is `Copy` and at most 96 bytes long.
///
/// Later versions add fields, so create an observation with a constructor:
/// [`segment`](Self::segment), [`datagram`](Self::datagram),
/// [`connection`](Self::connection), [`message`](Self::message), or
/// [`new`](Self::new) with any [`Evidence`]. Set the other fields with the setters or by
/// assignment. Fields that the sensor does not know keep the value of the constructor.
///
/// ```
/// use portsentry_core::{Instant, Observation, TcpFlags, Timestamp};
///
/// let (source, target) = ("192.0.2.7:40000", "198.51.100.1:23");
/// let mut probe =
///     Observation::segment(source.parse().unwrap(), target.parse().unwrap(), TcpFlags::SYN)
///         .at(Instant::from_secs(12))
///         .stamped(Timestamp::from_nanos(1_700_000_000_000_000_000))
///         .on(2);
/// probe.ttl = Some(52);
/// assert_eq!(probe.target_port, 23);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Observation {
    /// Monotonic time of the packet, the only time that detection compares. It should not
    /// go back from one observation of a sensor to the next. The constructors set it to the
    /// origin.
    #[cfg_attr(feature = "serde", serde(default))]
    pub at: Instant,
    /// Wall-clock time of the packet, for display. The constructors set it to
    /// 1970-01-01T00:00:00Z.
    #[cfg_attr(feature = "serde", serde(default))]
    pub time: Timestamp,
    /// The kernel's index of the receiving interface; 0 if unknown.
    #[cfg_attr(feature = "serde", serde(default))]
    pub interface: u32,
    /// The source address of the packet. It may be forged, except for
    /// [`Evidence::Connection`].
    pub source: IpAddr,
    /// The address of this host that was probed.
    pub target: IpAddr,
    /// The sender's port.
    #[cfg_attr(feature = "serde", serde(default))]
    pub source_port: u16,
    /// The probed port.
    pub target_port: u16,
    /// The packet or connection, which defines the transport protocol and the mode.
    pub evidence: Evidence,
    /// Whether the IP header had options.
    #[cfg_attr(feature = "serde", serde(default))]
    pub ip_options: IpOptions,
    /// Time to live, or hop limit, as received.
    #[cfg_attr(feature = "serde", serde(default))]
    pub ttl: Option<u8>,
    /// The identification field of the IPv4 header.
    #[cfg_attr(feature = "serde", serde(default))]
    pub ip_id: Option<u16>,
    /// Whether this host is known to have accepted the connection that the segment opens, with
    /// a SYN-ACK. The port is then served, also if no socket of this host is bound to it.
    #[cfg_attr(feature = "serde", serde(default))]
    pub accepted: bool,
}

impl Observation {
    /// Creates an observation of an attempt of `source` to reach `target`.
    ///
    /// IPv4-mapped addresses (RFC 4291 section 2.5.5.2) become IPv4 addresses. A mapped source
    /// of a packet to an IPv6 address stays unchanged: no socket sends such a packet, and its
    /// source is not the host with the IPv4 address ([`is_reserved_source`]).
    /// The flow label and scope of an IPv6 address are dropped.
    #[must_use]
    #[inline]
    pub const fn new(source: SocketAddr, target: SocketAddr, evidence: Evidence) -> Self {
        let target = (target.ip().to_canonical(), target.port());
        let source = (canonical_source(source.ip(), target.0), source.port());
        Self::between(source, target, evidence)
    }

    /// Creates an observation like [`new`](Self::new), but does not change the addresses; for
    /// decoders on a packet path. The engine makes the addresses canonical.
    #[must_use]
    #[inline]
    pub const fn between(source: (IpAddr, u16), target: (IpAddr, u16), evidence: Evidence) -> Self {
        Self {
            at: Instant::from_nanos(0),
            time: Timestamp::from_nanos(0),
            interface: 0,
            source: source.0,
            target: target.0,
            source_port: source.1,
            target_port: target.1,
            evidence,
            ip_options: IpOptions::Unknown,
            ttl: None,
            ip_id: None,
            accepted: false,
        }
    }

    /// Creates an observation of a TCP segment on the wire, see [`Evidence::Segment`].
    #[must_use]
    #[inline]
    pub const fn segment(source: SocketAddr, target: SocketAddr, flags: TcpFlags) -> Self {
        Self::new(source, target, Evidence::Segment(TcpSegment::new(flags)))
    }

    /// Creates an observation of a UDP datagram on the wire, see [`Evidence::Datagram`].
    #[must_use]
    #[inline]
    pub const fn datagram(source: SocketAddr, target: SocketAddr) -> Self {
        Self::new(source, target, Evidence::Datagram)
    }

    /// Creates an observation of an accepted TCP connection, see [`Evidence::Connection`].
    #[must_use]
    #[inline]
    pub const fn connection(source: SocketAddr, target: SocketAddr) -> Self {
        Self::new(source, target, Evidence::Connection)
    }

    /// Creates an observation of a UDP datagram received by a bound socket, see [`Evidence::Message`].
    #[must_use]
    #[inline]
    pub const fn message(source: SocketAddr, target: SocketAddr) -> Self {
        Self::new(source, target, Evidence::Message)
    }

    /// Sets the monotonic time of the packet.
    #[must_use]
    #[inline]
    pub const fn at(mut self, at: Instant) -> Self {
        self.at = at;
        self
    }

    /// Sets the wall-clock time of the packet.
    #[must_use]
    #[inline]
    pub const fn stamped(mut self, time: Timestamp) -> Self {
        self.time = time;
        self
    }

    /// Sets the index of the receiving interface.
    #[must_use]
    #[inline]
    pub const fn on(mut self, interface: u32) -> Self {
        self.interface = interface;
        self
    }

    /// Sets whether the IP header had options.
    #[must_use]
    #[inline]
    pub const fn with_ip_options(mut self, ip_options: IpOptions) -> Self {
        self.ip_options = ip_options;
        self
    }

    /// Sets the time to live, or hop limit, as received.
    #[must_use]
    #[inline]
    pub const fn with_ttl(mut self, ttl: u8) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets that this host is known to have accepted the connection.
    #[must_use]
    #[inline]
    pub const fn accepted(mut self) -> Self {
        self.accepted = true;
        self
    }

    /// Sets the identification field of the IPv4 header.
    #[must_use]
    #[inline]
    pub const fn with_ip_id(mut self, ip_id: u16) -> Self {
        self.ip_id = Some(ip_id);
        self
    }

    /// Returns whether an address is an IPv4 address in IPv6 form.
    pub(crate) const fn is_mapped(&self) -> bool {
        is_mapped(&self.source) || is_mapped(&self.target)
    }

    /// Returns the observation with canonical addresses.
    #[cold]
    pub(crate) const fn canonical(mut self) -> Self {
        self.target = self.target.to_canonical();
        self.source = canonical_source(self.source, self.target);
        self
    }

    /// Returns the source as a number, for hashes. It is the same for both forms of an IPv4
    /// address, and another one if the source is no host.
    #[inline]
    pub(crate) const fn source_bits(&self) -> u128 {
        let bits = address_bits(self.source);
        if is_mapped(&self.source) && self.is_mapped_on_wire() {
            // No packet has such a source: it is a group (RFC 4291 section 2.7).
            return bits | 0xff << 120;
        }
        bits
    }

    #[cold]
    const fn is_mapped_on_wire(&self) -> bool {
        canonical_source(self.source, self.target.to_canonical()).is_ipv6()
    }

    /// Returns the transport protocol.
    pub const fn protocol(&self) -> Protocol {
        self.evidence.protocol()
    }

    /// Returns the mode of the sensor.
    pub const fn mode(&self) -> Mode {
        self.evidence.mode()
    }

    /// Returns the kind of scan that the evidence matches.
    pub const fn kind(&self) -> ScanKind {
        self.evidence.kind()
    }

    /// Returns whether this starts an exchange, see [`Evidence::is_opener`].
    pub const fn is_opener(&self) -> bool {
        self.evidence.is_opener()
    }
}

/// Returns the source in canonical form, unless it cannot be a host because the target, which is
/// canonical, has an IPv6 address.
const fn canonical_source(source: IpAddr, target: IpAddr) -> IpAddr {
    match target {
        IpAddr::V6(target) if !target.is_unspecified() => source,
        _ => source.to_canonical(),
    }
}

/// Returns whether this source is a reserved address, which no host can have.
///
/// These are 0.0.0.0/8, 240.0.0.0/4 (RFC 1122 section 3.2.1.3, RFC 1112 section 4), and
/// IPv4-mapped IPv6 addresses (RFC 4291 section 2.5.5.2), which are for use within a host. Linux
/// replies to packets from nearly all of them, so they can probe. The engine never responds to
/// them.
#[must_use]
pub const fn is_reserved_source(source: IpAddr) -> bool {
    match source {
        IpAddr::V4(v4) => matches!(v4.octets(), [0 | 240..=255, ..]),
        IpAddr::V6(_) => is_mapped(&source),
    }
}

/// Returns whether this is an IPv4 address in IPv6 form (RFC 4291 section 2.5.5.2).
#[inline]
const fn is_mapped(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        // For most addresses, the comparison ends at the first byte.
        IpAddr::V6(address) => {
            matches!(address.octets(), [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ..])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_stays_small() {
        assert!(size_of::<Observation>() <= 96, "{} bytes", size_of::<Observation>());
    }

    #[test]
    fn constructors_make_mapped_addresses_canonical() {
        let (mapped, plain) = ("[::ffff:192.0.2.7]:7", "192.0.2.7:7");
        let [mapped, plain]: [SocketAddr; 2] = [mapped, plain].map(|text| text.parse().unwrap());
        assert_eq!(Observation::datagram(mapped, mapped), Observation::datagram(plain, plain));
        let seen = Observation::connection(mapped, plain);
        assert_eq!((seen.source, seen.source_port), (plain.ip(), 7));
        // A socket that is not bound to an address.
        let unbound = Observation::message(mapped, "[::]:7".parse().unwrap());
        assert_eq!(unbound.source, plain.ip());
    }

    #[test]
    fn a_mapped_source_on_the_wire_is_not_the_ipv4_host() {
        let [mapped, plain, target]: [SocketAddr; 3] =
            ["[::ffff:192.0.2.7]:7", "192.0.2.7:7", "[2001:db8::1]:23"]
                .map(|text| text.parse().unwrap());
        let forged = Observation::datagram(mapped, target);
        assert_eq!((forged.source, forged.canonical().source), (mapped.ip(), mapped.ip()));
        assert!(is_reserved_source(forged.source));
        let real = Observation::datagram(plain, plain);
        assert_ne!(forged.source_bits(), real.source_bits());
        let mut assigned = real;
        (assigned.source, assigned.target) = (mapped.ip(), mapped.ip());
        assert_eq!(assigned.source_bits(), real.source_bits());
    }

    #[test]
    fn reserved_sources_are_those_that_no_host_has() {
        for (address, expected) in [
            ("0.0.0.0", true),
            ("0.255.255.255", true),
            ("1.0.0.0", false),
            ("127.0.0.1", false),
            ("239.255.255.255", false),
            ("240.0.0.0", true),
            ("255.255.255.255", true),
            ("::", false),
            ("::fffe:192.0.2.1", false),
            ("::ffff:192.0.2.1", true),
            ("::1:0:c000:201", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_reserved_source(address.parse().unwrap()), expected, "{address}");
        }
    }
}
