//! Reasons why a frame yields no observation.

use std::fmt;

/// Declares the enumeration, and the lists with one entry for each kind.
macro_rules! rejected {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// Reason why a packet yields no observation.
        ///
        /// `Display` writes the name. Later versions may add kinds, so a `match` needs a
        /// wildcard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rejected {
            $($(#[$doc])* $kind,)*
        }

        impl Rejected {
            /// All kinds, ordered by value: `ALL[kind as usize]` is `kind`.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// Returns the name for messages: a few words in lower case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

rejected! {
    /// The link header announces another protocol than IP: ARP, LLDP, ...
    NotIp = "not IP",
    /// IP, but neither TCP nor UDP: ICMP, IGMP, a tunnel, ...
    OtherTransport = "other transport protocol",
    /// Encrypted payload (ESP, RFC 4303): the ports cannot be seen.
    Encrypted = "encrypted",
    /// IPv6 without a payload after its headers (RFC 8200 section 4.7).
    NoNextHeader = "no next header",
    /// A fragment that does not complete its datagram, or a copy of an earlier one.
    Fragment = "fragment",
    /// Addressed to a host that is not watched, or not to a single host.
    NotForThisHost = "not for this host",
    /// From an interface of a capture file whose link type is not supported.
    UnknownLinkType = "unknown link type",
    /// The same packet was captured on another interface, for example on a bridge and its port.
    Duplicate = "seen on another interface",
    /// A UDP datagram that replies to a query of this host.
    SolicitedReply = "solicited reply",

    /// The capture ends before the fields that are needed.
    Truncated = "truncated by the capture",
    /// More than two VLAN tags, without tags that contain only a priority.
    TooManyVlanTags = "too many VLAN tags",
    /// The version in the IP header is neither 4 nor 6, or differs from the link header.
    IpVersion = "wrong IP version",
    /// IPv4 header length below 20 bytes (RFC 791 section 3.1).
    IpHeaderLength = "impossible IP header length",
    /// IPv4 total length below the length of the header (RFC 791 section 3.1).
    IpTotalLength = "impossible IP total length",
    /// A frame that was shorter on the wire than the IP packet in it.
    ShortFrame = "frame shorter than its IP packet",
    /// An extension header longer than the packet, of impossible length, or a hop-by-hop header
    /// that is not the first (RFC 8200 section 4.1, RFC 4302 section 2.2).
    ExtensionHeader = "impossible extension header",
    /// A first fragment of IPv6 that does not contain all headers, including the transport header
    /// (RFC 8200 section 4.5, RFC 7112 section 5).
    FirstFragment = "first fragment without the whole header chain",
    /// A fragment that overlaps another; the whole datagram is discarded (RFC 5722 section 4).
    FragmentOverlap = "overlapping fragment",
    /// A fragment that is empty, contradicts the known end of its datagram, or exceeds 65,535
    /// bytes. Over IPv6 also one whose length is not a multiple of 8, except the last (RFC 8200
    /// section 4.5).
    FragmentLength = "impossible fragment length",
    /// An IPv4-mapped IPv6 address as the target; they are for use within a host (RFC 4291
    /// section 2.5.5.2).
    MappedAddress = "IPv4-mapped address",
    /// Wrong checksum of the IPv4 header (RFC 1122 section 3.2.1.2).
    IpChecksum = "wrong IPv4 header checksum",
    /// Wrong checksum of the segment (RFC 9293 section 3.1).
    TcpChecksum = "wrong TCP checksum",
    /// Wrong checksum of the datagram (RFC 768), or none over IPv6 (RFC 8200
    /// section 8.1).
    UdpChecksum = "wrong UDP checksum",
    /// The IP packet ends inside the transport header.
    TransportHeader = "packet ends inside the transport header",
    /// TCP data offset below 5, or after the end of the segment (RFC 9293 section 3.1).
    TcpDataOffset = "impossible TCP data offset",
    /// UDP length below 8, or after the end of the IP packet (RFC 768). Over IPv6 a length of 0 is
    /// allowed (RFC 2675 section 4).
    UdpLength = "impossible UDP length",
    /// A source address that no sender can have; see
    /// [`martian_source`](crate::martian_source).
    MartianSource = "martian source",
}

impl Rejected {
    /// Returns whether the packet is malformed or cannot be decoded. Packets of other kinds are
    /// valid, but are no probes of this host.
    #[must_use]
    pub const fn is_malformed(self) -> bool {
        !matches!(
            self,
            Self::NotIp
                | Self::OtherTransport
                | Self::Encrypted
                | Self::NoNextHeader
                | Self::Fragment
                | Self::NotForThisHost
                | Self::UnknownLinkType
                | Self::Duplicate
                | Self::SolicitedReply
        )
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
