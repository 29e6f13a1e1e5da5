//! Why a frame gives no observation.

use std::fmt;

/// Declares the enumeration with everything that has one entry per kind.
macro_rules! rejected {
    ($($(#[$doc:meta])* $kind:ident = $name:literal,)*) => {
        /// Why a packet gave no observation.
        ///
        /// `Display` gives the name. Kinds can be added, so a `match` needs a
        /// wildcard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rejected {
            $($(#[$doc])* $kind,)*
        }

        impl Rejected {
            /// Every kind, in the order of their values: `ALL[kind as usize]`
            /// is `kind`.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// What it is called, for people: a few words in lower case.
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
    /// The link header announces something else than IP: ARP, LLDP, ...
    NotIp = "not IP",
    /// IP, but neither TCP nor UDP: ICMP, IGMP, a tunnel, ...
    OtherTransport = "other transport protocol",
    /// Encrypted payload (ESP, RFC 4303): the ports cannot be seen.
    Encrypted = "encrypted",
    /// IPv6 without anything behind the headers (RFC 8200 section 4.7).
    NoNextHeader = "no next header",
    /// A piece of a fragmented datagram that is not complete with it, or a copy of
    /// one that came before.
    Fragment = "fragment",
    /// Addressed to a host that is not watched, or not to a single host.
    NotForThisHost = "not for this host",
    /// From an interface of a capture file whose link type is not supported.
    UnknownLinkType = "unknown link type",
    /// The same packet was seen on another interface, as on a bridge and its
    /// port.
    Duplicate = "seen on another interface",
    /// A UDP datagram that answers a query of this host.
    SolicitedReply = "solicited reply",

    /// The capture ends before the fields that are needed.
    Truncated = "truncated by the capture",
    /// More than two VLAN tags.
    TooManyVlanTags = "too many VLAN tags",
    /// The version in the IP header is neither 4 nor 6, or not what the link
    /// header announced.
    IpVersion = "wrong IP version",
    /// IPv4 header length under 20 bytes (RFC 791 section 3.1).
    IpHeaderLength = "impossible IP header length",
    /// IPv4 total length under the header's length (RFC 791 section 3.1).
    IpTotalLength = "impossible IP total length",
    /// A frame that was shorter on the wire than the IP packet in it.
    ShortFrame = "frame shorter than its IP packet",
    /// An extension header longer than the packet, of impossible length, or a
    /// hop-by-hop header that does not come first (RFC 8200 section 4.1,
    /// RFC 4302 section 2.2).
    ExtensionHeader = "impossible extension header",
    /// A first fragment of IPv6 without all headers up to and with that of the
    /// transport layer (RFC 8200 section 4.5, RFC 7112 section 5).
    FirstFragment = "first fragment without the whole header chain",
    /// A fragment that overlaps another; both are discarded, with their datagram
    /// (RFC 5722 section 4).
    FragmentOverlap = "overlapping fragment",
    /// A fragment that is empty, ends elsewhere than others say, makes a datagram
    /// of more than 65,535 bytes, or for IPv6 has a length that is no multiple of
    /// 8 and is not the last (RFC 8200 section 4.5).
    FragmentLength = "impossible fragment length",
    /// An IPv4-mapped IPv6 address on the wire (RFC 4291 section 2.5.5.2 is
    /// for use inside a host alone).
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
    /// TCP data offset under 5, or beyond the end of the segment (RFC 9293
    /// section 3.1).
    TcpDataOffset = "impossible TCP data offset",
    /// UDP length under 8 (but 0 over IPv6, RFC 2675 section 4), or beyond the
    /// end of the IP packet (RFC 768).
    UdpLength = "impossible UDP length",
    /// A source address that no sender can have; see
    /// [`martian_source`](crate::martian_source).
    MartianSource = "martian source",
}

impl Rejected {
    /// Whether the packet is wrong in itself, or could not be read; else it was
    /// in order and merely not an attempt to reach a port of this host.
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
