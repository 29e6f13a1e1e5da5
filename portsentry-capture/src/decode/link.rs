//! Link headers: all bytes before the IP header.

use etherparse::Ethernet2HeaderSlice;

use super::Rejected;
use super::ether_type::{IPV4, IPV6, VLAN_TAGS, skip_tags};

/// ARP hardware type of a loopback interface (`ARPHRD_LOOPBACK` of Linux).
const ARPHRD_LOOPBACK: u16 = 772;

/// The supported types of link headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkType {
    /// Ethernet II, with up to two VLAN tags and any number of priority tags.
    Ethernet,
    /// No link header: the frame starts with the IP header.
    RawIp,
    /// Four bytes of address family, in the byte order of the capturing host.
    BsdLoopback,
    /// Linux cooked capture, 16 bytes.
    LinuxSll,
    /// Linux cooked capture v2, 20 bytes, which contain the interface.
    LinuxSll2,
}

/// The IP version that a link header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IpVersion {
    V4,
    V6,
}

/// A frame without its link header.
pub(super) struct Datagram<'a> {
    pub(super) version: IpVersion,
    pub(super) bytes: &'a [u8],
    /// Maximum length on the wire in bytes, including padding, if known.
    pub(super) wire_length: Option<usize>,
    /// Length of the link header, in bytes.
    pub(super) offset: usize,
    /// Index of the receiving interface, 0 if the header does not contain it.
    pub(super) interface: u32,
}

impl Datagram<'_> {
    /// Checks that the frame is long enough for an IP packet of `length` bytes.
    #[inline]
    pub(super) fn check_length(&self, length: usize) -> Result<(), Rejected> {
        match self.wire_length {
            Some(longest) if longest < length => Err(Rejected::ShortFrame),
            _ => Ok(()),
        }
    }
}

impl LinkType {
    /// Returns the type with this number of capture files (`LINKTYPE_`) and libpcap (`DLT_`);
    /// `None` if frames of that type cannot be decoded.
    ///
    /// Raw IP has several numbers: 12 for Linux tun devices in libpcap, 14 on OpenBSD, 101 in
    /// files, and 228 and 229 for a single IP version.
    #[must_use]
    pub const fn from_dlt(number: i32) -> Option<Self> {
        Some(match number {
            0 | 108 => Self::BsdLoopback,
            1 => Self::Ethernet,
            12 | 14 | 101 | 228 | 229 => Self::RawIp,
            113 => Self::LinuxSll,
            276 => Self::LinuxSll2,
            _ => return None,
        })
    }

    /// Returns the index of the receiving interface, if the link header contains it.
    #[must_use]
    pub fn interface(self, frame: &[u8]) -> Option<u32> {
        match (self, frame) {
            (Self::LinuxSll2, [_, _, _, _, a, b, c, d, ..]) => {
                Some(u32::from_be_bytes([*a, *b, *c, *d]))
            }
            _ => None,
        }
    }

    /// Returns whether the link header of `frame` shows that it was captured on a loopback
    /// interface.
    ///
    /// A capture file does not contain the kind of its interface. Cooked headers contain it.
    /// Linux's loopback device writes zeros for both Ethernet addresses, which no other interface
    /// has. Raw IP has no header, so it counts as captured on another interface.
    #[must_use]
    pub fn marks_loopback(self, frame: &[u8]) -> bool {
        match self {
            Self::BsdLoopback => true,
            Self::RawIp => false,
            Self::Ethernet => frame.first_chunk() == Some(&[0; 12]),
            Self::LinuxSll => match frame {
                [_, _, high, low, ..] => u16::from_be_bytes([*high, *low]) == ARPHRD_LOOPBACK,
                _ => false,
            },
            Self::LinuxSll2 => match frame {
                [_, _, _, _, _, _, _, _, high, low, ..] => {
                    u16::from_be_bytes([*high, *low]) == ARPHRD_LOOPBACK
                }
                _ => false,
            },
        }
    }
}

/// Removes the link header.
pub(super) fn strip(link: LinkType, frame: &[u8]) -> Result<Datagram<'_>, Rejected> {
    match link {
        LinkType::Ethernet => {
            let header = Ethernet2HeaderSlice::from_slice(frame).or(Err(Rejected::Truncated))?;
            tagged(header.ether_type().0, frame, 14, 0)
        }
        LinkType::RawIp => raw_ip(frame),
        LinkType::BsdLoopback => bsd_loopback(frame),
        // Not with etherparse, which rejects unknown hardware types.
        LinkType::LinuxSll => {
            let [.., high, low] = *frame.first_chunk::<16>().ok_or(Rejected::Truncated)?;
            cooked(u16::from_be_bytes([high, low]), frame, 16, 0)
        }
        LinkType::LinuxSll2 => {
            let header = frame.first_chunk::<20>().ok_or(Rejected::Truncated)?;
            let [high, low, _, _, i0, i1, i2, i3, ..] = *header;
            let interface = u32::from_be_bytes([i0, i1, i2, i3]);
            cooked(u16::from_be_bytes([high, low]), frame, 20, interface)
        }
    }
}

/// Removes a cooked header, and VLAN tags that the header does not announce. Linux removes the
/// outer tag, leaves the inner ones, and announces the protocol after all of them, or 0 if there
/// are more than eight (`vlan_get_protocol_dgram` in `net/packet/af_packet.c`).
fn cooked(
    ether_type: u16,
    frame: &[u8],
    offset: usize,
    interface: u32,
) -> Result<Datagram<'_>, Rejected> {
    if ether_type == 0 {
        let bytes = frame.get(offset..).unwrap_or_default();
        let (version, bytes) = behind_hidden_tags(None, bytes).ok_or(Rejected::NotIp)?;
        let offset = frame.len() - bytes.len();
        return Ok(Datagram { version, bytes, wire_length: None, offset, interface });
    }
    let mut datagram = tagged(ether_type, frame, offset, interface)?;
    // A priority tag has a zero in place of the length of an IPv4 header.
    let is_header =
        datagram.version == IpVersion::V4 && matches!(datagram.bytes, [0x45..=0x4f, ..]);
    if !is_header
        && let Some((_, bytes)) = behind_hidden_tags(Some(datagram.version), datagram.bytes)
    {
        datagram.offset += datagram.bytes.len() - bytes.len();
        datagram.bytes = bytes;
    }
    Ok(datagram)
}

/// Skips tags up to an IP header of the `announced` version, or of any. Returns `None` if `bytes`
/// do not start with a tag.
///
/// An IPv6 header looks like a tag only if its payload is longer than 24 KiB, or its protocol is
/// none of those that are decoded.
fn behind_hidden_tags(
    announced: Option<IpVersion>,
    mut bytes: &[u8],
) -> Option<(IpVersion, &[u8])> {
    loop {
        let (&[_, _, high, low], rest) = bytes.split_first_chunk()?;
        let ether_type = u16::from_be_bytes([high, low]);
        bytes = rest;
        if !VLAN_TAGS.contains(&ether_type) {
            let version = match (ether_type, rest.first()? >> 4) {
                (IPV4, 4) => IpVersion::V4,
                (IPV6, 6) => IpVersion::V6,
                _ => return None,
            };
            return (announced.is_none_or(|it| it == version)).then_some((version, rest));
        }
    }
}

/// Skips VLAN tags, the first of them at `offset`, if `ether_type` announces one.
fn tagged(
    ether_type: u16,
    frame: &[u8],
    offset: usize,
    interface: u32,
) -> Result<Datagram<'_>, Rejected> {
    let tags = frame.get(offset..).unwrap_or_default();
    let (version, bytes) = match ether_type {
        IPV4 => (IpVersion::V4, tags),
        IPV6 => (IpVersion::V6, tags),
        _ => match skip_tags(ether_type, tags, 0)? {
            (IPV4, bytes) => (IpVersion::V4, bytes),
            (IPV6, bytes) => (IpVersion::V6, bytes),
            _ => return Err(Rejected::NotIp),
        },
    };
    let offset = offset + (tags.len() - bytes.len());
    Ok(Datagram { version, bytes, wire_length: None, offset, interface })
}

fn raw_ip(bytes: &[u8]) -> Result<Datagram<'_>, Rejected> {
    let version = match bytes.first().ok_or(Rejected::Truncated)? >> 4 {
        4 => IpVersion::V4,
        6 => IpVersion::V6,
        _ => return Err(Rejected::IpVersion),
    };
    Ok(Datagram { version, bytes, wire_length: None, offset: 0, interface: 0 })
}

/// Removes a BSD loopback header. The family is in the byte order of the capturing host
/// (`DLT_NULL`) or in network byte order (`DLT_LOOP`), and systems have different numbers for
/// IPv6.
fn bsd_loopback(frame: &[u8]) -> Result<Datagram<'_>, Rejected> {
    let (family, bytes) = frame.split_first_chunk::<4>().ok_or(Rejected::Truncated)?;
    let ([0, 0, 0, family] | [family, 0, 0, 0]) = *family else {
        return Err(Rejected::NotIp);
    };
    let version = match family {
        2 => IpVersion::V4,
        // Linux; NetBSD and OpenBSD; FreeBSD; Darwin.
        10 | 24 | 28 | 30 => IpVersion::V6,
        _ => return Err(Rejected::NotIp),
    };
    Ok(Datagram { version, bytes, wire_length: None, offset: 4, interface: 0 })
}
