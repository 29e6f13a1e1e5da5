//! IPv6 headers and the chain of extension headers after them (RFC 8200).
//!
//! The chain is followed to its end. Linux has no limit either and replies to a probe with
//! hundreds of extension headers. Each header has at least 8 bytes, so the length of the packet
//! bounds the work.

use std::net::{IpAddr, Ipv6Addr};

use etherparse::err::ipv6::HeaderSliceError;
use etherparse::{IpNumber, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice};
use portsentry_core::IpOptions;

use super::checksum::Addresses;
use super::extensions::{authentication, options, routing};
use super::fragment::Fragment;
use super::header::Header;
use super::link::Datagram;
use super::payload::Payload;
use super::{ChecksumState, Packet, Rejected, transport};

/// Length of a fragment header, in bytes.
const FRAGMENT_HEADER: usize = 8;

#[inline]
pub(super) fn read(
    datagram: &Datagram<'_>,
    checksum: ChecksumState,
    reassemble: impl FnOnce(&Fragment<'_>) -> Result<Packet, Rejected>,
) -> Result<Packet, Rejected> {
    let packet = datagram.bytes;
    let ip = Ipv6HeaderSlice::from_slice(packet).map_err(|error| match error {
        HeaderSliceError::Len(_) => Rejected::Truncated,
        HeaderSliceError::Content(_) => Rejected::IpVersion,
    })?;
    let source = Ipv6Addr::from(ip.source());
    let target = Ipv6Addr::from(ip.destination());
    if is_mapped(target) {
        return Err(Rejected::MappedAddress);
    }
    // Built only where it is needed, because copies would cost more than the rest of decoding.
    let header = |protocol, length| Header {
        source: IpAddr::V6(source),
        target: IpAddr::V6(target),
        protocol,
        ip_options: IpOptions::Unknown,
        ttl: ip.hop_limit(),
        ip_id: None,
        interface: datagram.interface,
        link: datagram.offset,
        length,
    };
    let is_jumbogram =
        ip.payload_length() == 0 && ip.next_header() == IpNumber::IPV6_HEADER_HOP_BY_HOP;
    let (length, checksum) = match datagram.wire_length {
        _ if !is_jumbogram => (40 + usize::from(ip.payload_length()), checksum),
        // A hop-by-hop option contains the length (RFC 2675 section 3). Linux also accepts
        // a zero without that option, and then the packet ends with its frame.
        Some(length) => (length.max(packet.len()), checksum),
        // Only the capture bounds the packet, so its checksum cannot be verified.
        None => (packet.len(), ChecksumState::Valid),
    };
    datagram.check_length(length)?;
    let payload = Payload::of(packet, 40, length);
    let (protocol, upper) = match ip.next_header() {
        protocol @ (IpNumber::TCP | IpNumber::UDP) => (protocol, payload),
        first => match walk(first, payload, Walk::FROM_IP_HEADER)? {
            Walked::Upper(protocol, upper) => (protocol, upper),
            // RFC 2675 section 3.
            Walked::Atomic(..) | Walked::Fragment { .. } if is_jumbogram => {
                return Err(Rejected::ExtensionHeader);
            }
            Walked::Atomic(protocol, upper) => (protocol, upper),
            Walked::Fragment { protocol, identification, offset, more, rest } => {
                let unfragmentable = payload.length - rest.length - FRAGMENT_HEADER;
                return reassemble(&Fragment {
                    header: header(protocol, 40 + unfragmentable),
                    identification,
                    offset,
                    more,
                    payload: rest,
                    checksum,
                });
            }
        },
    };
    let addresses = Addresses::v6(ip.source(), ip.destination());
    let segment = transport::decode(addresses, protocol, upper, checksum)?;
    Ok(header(protocol, 40).packet(segment, payload.length))
}

/// Returns whether the address is in `::ffff:0:0/96`. One comparison;
/// [`Ipv6Addr::to_ipv4_mapped`] needs several.
fn is_mapped(address: Ipv6Addr) -> bool {
    address.to_bits() >> 32 == 0xffff
}

/// Decodes a reassembled datagram, in which extension headers may precede the transport header.
pub(super) fn upper_of_reassembled(
    first: IpNumber,
    payload: Payload<'_>,
) -> Result<(IpNumber, Payload<'_>), Rejected> {
    match walk(first, payload, Walk::BEHIND_FRAGMENT_HEADER)? {
        Walked::Upper(protocol, upper) => Ok((protocol, upper)),
        Walked::Atomic(..) | Walked::Fragment { .. } => Err(Rejected::ExtensionHeader),
    }
}

/// State at the start of a walk along extension headers.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Walk {
    /// The walk starts directly after the IP header, the only place for hop-by-hop options.
    first: bool,
    /// A fragment header came before. Linux drops a packet with a second one.
    fragmented: bool,
}

impl Walk {
    const FROM_IP_HEADER: Self = Self { first: true, fragmented: false };
    const BEHIND_FRAGMENT_HEADER: Self = Self { first: false, fragmented: true };
}

/// End of a walk.
enum Walked<'a> {
    /// At a header that is not an extension header.
    Upper(IpNumber, Payload<'a>),
    /// The same, after the fragment header of a packet that is not fragmented (RFC 6946
    /// section 4).
    Atomic(IpNumber, Payload<'a>),
    /// After the fragment header of a fragment.
    Fragment { protocol: IpNumber, identification: u32, offset: u32, more: bool, rest: Payload<'a> },
}

/// Follows the extension headers, the first of which is of kind `first`.
fn walk(first: IpNumber, payload: Payload<'_>, from: Walk) -> Result<Walked<'_>, Rejected> {
    let (mut next, mut rest, mut at) = (first, payload, from);
    loop {
        (next, rest) = match next {
            // Anywhere else it is an unknown header (RFC 8200 section 4.1).
            IpNumber::IPV6_HEADER_HOP_BY_HOP if !at.first => return Err(Rejected::ExtensionHeader),
            IpNumber::IPV6_HEADER_HOP_BY_HOP | IpNumber::IPV6_DESTINATION_OPTIONS => options(rest)?,
            IpNumber::IPV6_ROUTE_HEADER => routing(rest)?,
            IpNumber::AUTHENTICATION_HEADER => authentication(rest)?,
            IpNumber::IPV6_FRAGMENTATION_HEADER if at.fragmented => {
                return Err(Rejected::ExtensionHeader);
            }
            IpNumber::IPV6_FRAGMENTATION_HEADER => {
                let header =
                    Ipv6FragmentHeaderSlice::from_slice(rest.captured).map_err(|error| {
                        rest.shortage(error.required_len, Rejected::ExtensionHeader)
                    })?;
                let behind = rest.behind(FRAGMENT_HEADER)?;
                if header.is_fragmenting_payload() {
                    return Ok(Walked::Fragment {
                        protocol: header.next_header(),
                        identification: header.identification(),
                        offset: u32::from(header.fragment_offset().value()) * 8,
                        more: header.more_fragments(),
                        rest: behind,
                    });
                }
                at.fragmented = true;
                (header.next_header(), behind)
            }
            _ if at.fragmented && !from.fragmented => return Ok(Walked::Atomic(next, rest)),
            _ => return Ok(Walked::Upper(next, rest)),
        };
        at.first = false;
    }
}

/// Returns whether the first fragment of a datagram contains all headers, including the
/// transport header (RFC 8200 section 4.5, RFC 7112 section 5).
///
/// Linux drops a fragment without them since 5.11 (`ipv6frag_thdr_truncated` and
/// `ipv6_skip_exthdr`). Linux accepts a fragment that ends before the second byte of an
/// extension header, so this function does too.
pub(super) fn has_header_chain(first: IpNumber, payload: Payload<'_>) -> bool {
    let (mut next, mut at) = (first, 0);
    loop {
        let needed = match next {
            IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS
            | IpNumber::AUTHENTICATION_HEADER
            | IpNumber::IPV6_FRAGMENTATION_HEADER => {
                let Some([following, units]) = payload.captured.get(at..at + 2) else {
                    return true;
                };
                at += match next {
                    IpNumber::AUTHENTICATION_HEADER => 4 * (usize::from(*units) + 2),
                    IpNumber::IPV6_FRAGMENTATION_HEADER => FRAGMENT_HEADER,
                    _ => 8 * (usize::from(*units) + 1),
                };
                next = IpNumber(*following);
                continue;
            }
            IpNumber::TCP => 20,
            IpNumber::UDP | IpNumber::IPV6_ICMP => 8,
            IpNumber::IPV6_NO_NEXT_HEADER => return true,
            _ => 1,
        };
        return at + needed <= payload.length;
    }
}
