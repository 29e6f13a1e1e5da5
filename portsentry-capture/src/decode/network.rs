//! IPv4 and IPv6: addresses, lengths, and the way to the transport header.
//!
//! The length that the IP header gives bounds everything behind it. Where a
//! header does not fit, the question is always the same: does the packet end
//! there (the packet is malformed), or only the capture (it is truncated)?

use std::net::{IpAddr, Ipv6Addr};

use etherparse::err::ipv4::{HeaderError, HeaderSliceError};
use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice,
};
use portsentry_core::IpOptions;

use super::link::{Datagram, IpVersion};
use super::{Packet, Rejected, transport};

/// Extension headers of one packet that are walked. A legitimate packet has
/// each kind once, destination options twice (RFC 8200 section 4.1).
const MAX_EXTENSIONS: usize = 8;

/// Bytes of extension headers that are walked: with the longest link header,
/// IPv6 header and transport header well inside a short capture length.
const MAX_EXTENSION_BYTES: usize = 256;

/// What the IP header says belongs to the packet, from some header on.
#[derive(Clone, Copy)]
pub(super) struct Payload<'a> {
    /// What of it was captured, at most `length` bytes.
    pub(super) captured: &'a [u8],
    /// Its length on the wire.
    pub(super) length: usize,
}

impl<'a> Payload<'a> {
    /// Behind a header of `header` bytes, in a packet of `length` bytes.
    fn of(packet: &'a [u8], header: usize, length: usize) -> Self {
        let captured = packet.get(header..length.min(packet.len())).unwrap_or_default();
        Self { captured, length: length - header }
    }

    /// Behind the first `length` bytes.
    fn behind(self, length: usize) -> Result<Self, Rejected> {
        let captured = self.captured.get(length..).ok_or(Rejected::Truncated)?;
        Ok(Self { captured, length: self.length - length })
    }

    /// Why a header that needs `needed` bytes cannot be read.
    fn shortage(self, needed: usize, malformed: Rejected) -> Rejected {
        if self.length < needed { malformed } else { Rejected::Truncated }
    }
}

/// Decodes an IP packet.
pub(super) fn decode(datagram: &Datagram<'_>) -> Result<Packet, Rejected> {
    match datagram.version {
        IpVersion::V4 => ipv4(datagram),
        IpVersion::V6 => ipv6(datagram),
    }
}

fn ipv4(datagram: &Datagram<'_>) -> Result<Packet, Rejected> {
    let packet = datagram.bytes;
    let header = Ipv4HeaderSlice::from_slice(packet).map_err(|error| match error {
        HeaderSliceError::Len(_) => Rejected::Truncated,
        HeaderSliceError::Content(HeaderError::UnexpectedVersion { .. }) => Rejected::IpVersion,
        HeaderSliceError::Content(HeaderError::HeaderLengthSmallerThanHeader { .. }) => {
            Rejected::IpHeaderLength
        }
    })?;
    let header_length = header.slice().len();
    let length = usize::from(header.total_len());
    if length < header_length {
        return Err(Rejected::IpTotalLength);
    }
    if header.is_fragmenting_payload() {
        return Err(Rejected::Fragment);
    }
    let payload = Payload::of(packet, header_length, length);
    let (protocol, payload) = match header.protocol() {
        IpNumber::AUTHENTICATION_HEADER => authenticated(payload)?,
        protocol => (protocol, payload),
    };
    let segment = transport::decode(IpVersion::V4, protocol, payload)?;
    Ok(Packet {
        source: IpAddr::V4(header.source_addr()),
        target: IpAddr::V4(header.destination_addr()),
        source_port: segment.source_port,
        target_port: segment.target_port,
        evidence: segment.evidence,
        ip_options: if header_length > 20 { IpOptions::Present } else { IpOptions::Absent },
        ttl: header.ttl(),
        ip_id: header.identification(),
        interface: datagram.interface,
        wire_length: datagram.offset + length,
    })
}

fn ipv6(datagram: &Datagram<'_>) -> Result<Packet, Rejected> {
    let packet = datagram.bytes;
    let header = Ipv6HeaderSlice::from_slice(packet).map_err(|error| match error {
        etherparse::err::ipv6::HeaderSliceError::Len(_) => Rejected::Truncated,
        etherparse::err::ipv6::HeaderSliceError::Content(_) => Rejected::IpVersion,
    })?;
    let source = Ipv6Addr::from(header.source());
    let target = Ipv6Addr::from(header.destination());
    if is_mapped(source) || is_mapped(target) {
        return Err(Rejected::MappedAddress);
    }
    let length = match (header.payload_length(), header.next_header()) {
        // The length of a jumbogram stands in a hop-by-hop option (RFC 2675
        // section 3); what was captured is then the only bound. Linux takes a
        // zero without that option alike.
        (0, IpNumber::IPV6_HEADER_HOP_BY_HOP) => packet.len(),
        (length, _) => 40 + usize::from(length),
    };
    let payload = Payload::of(packet, 40, length);
    let (protocol, payload) = match header.next_header() {
        protocol @ (IpNumber::TCP | IpNumber::UDP) => (protocol, payload),
        first => behind_extensions(first, payload)?,
    };
    let segment = transport::decode(IpVersion::V6, protocol, payload)?;
    Ok(Packet {
        source: IpAddr::V6(source),
        target: IpAddr::V6(target),
        source_port: segment.source_port,
        target_port: segment.target_port,
        evidence: segment.evidence,
        ip_options: IpOptions::Unknown,
        ttl: header.hop_limit(),
        ip_id: 0,
        interface: datagram.interface,
        wire_length: datagram.offset + length,
    })
}

/// Whether this is in `::ffff:0:0/96`. One comparison, where
/// [`Ipv6Addr::to_ipv4_mapped`] makes several.
fn is_mapped(address: Ipv6Addr) -> bool {
    address.to_bits() >> 32 == 0xffff
}

/// Walks IPv6 extension headers, from one of kind `first` to whatever is not
/// one (RFC 8200 section 4).
fn behind_extensions(
    first: IpNumber,
    payload: Payload<'_>,
) -> Result<(IpNumber, Payload<'_>), Rejected> {
    let (mut next, mut rest) = (first, payload);
    for position in 0..=MAX_EXTENSIONS {
        let (following, behind) = match next {
            // Anywhere else it is an unknown header (RFC 8200 section 4.1).
            IpNumber::IPV6_HEADER_HOP_BY_HOP if position > 0 => {
                return Err(Rejected::ExtensionHeader);
            }
            IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS => option_header(rest)?,
            IpNumber::IPV6_FRAGMENTATION_HEADER => atomic_fragment(rest)?,
            IpNumber::AUTHENTICATION_HEADER => authenticated(rest)?,
            _ => return Ok((next, rest)),
        };
        (next, rest) = (following, behind);
        if payload.length - rest.length > MAX_EXTENSION_BYTES {
            return Err(Rejected::ExtensionChain);
        }
    }
    Err(Rejected::ExtensionChain)
}

/// Hop-by-hop options, routing and destination options: the length counts units
/// of 8 bytes without the first, so 0 is the usual value (RFC 8200 section 4.3).
fn option_header(payload: Payload<'_>) -> Result<(IpNumber, Payload<'_>), Rejected> {
    match Ipv6RawExtHeaderSlice::from_slice(payload.captured) {
        Ok(header) => Ok((header.next_header(), payload.behind(header.slice().len())?)),
        Err(error) => Err(payload.shortage(error.required_len, Rejected::ExtensionHeader)),
    }
}

/// A fragment header in a packet that is whole (RFC 6946 section 4).
fn atomic_fragment(payload: Payload<'_>) -> Result<(IpNumber, Payload<'_>), Rejected> {
    match Ipv6FragmentHeaderSlice::from_slice(payload.captured) {
        Ok(header) if header.is_fragmenting_payload() => Err(Rejected::Fragment),
        Ok(header) => Ok((header.next_header(), payload.behind(header.slice().len())?)),
        Err(error) => Err(payload.shortage(error.required_len, Rejected::ExtensionHeader)),
    }
}

/// An authentication header: the length counts units of 4 bytes without the
/// first two (RFC 4302 section 2.2).
fn authenticated(payload: Payload<'_>) -> Result<(IpNumber, Payload<'_>), Rejected> {
    use etherparse::err::ip_auth::HeaderSliceError;

    match IpAuthHeaderSlice::from_slice(payload.captured) {
        Ok(header) => Ok((header.next_header(), payload.behind(header.slice().len())?)),
        Err(HeaderSliceError::Len(error)) => {
            Err(payload.shortage(error.required_len, Rejected::ExtensionHeader))
        }
        Err(HeaderSliceError::Content(_)) => Err(Rejected::ExtensionHeader),
    }
}
