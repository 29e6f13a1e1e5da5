//! IPv4 headers (RFC 791).

use std::net::IpAddr;

use etherparse::err::ipv4::{HeaderError, HeaderSliceError};
use etherparse::{IpNumber, Ipv4HeaderSlice};
use portsentry_core::IpOptions;

use super::checksum::{Addresses, is_header_intact};
use super::fragment::Fragment;
use super::header::Header;
use super::link::Datagram;
use super::payload::Payload;
use super::{ChecksumState, Packet, Rejected, extensions, transport};

#[inline]
pub(super) fn read(
    datagram: &Datagram<'_>,
    checksum: ChecksumState,
    reassemble: impl FnOnce(&Fragment<'_>) -> Result<Packet, Rejected>,
) -> Result<Packet, Rejected> {
    let packet = datagram.bytes;
    let ip = Ipv4HeaderSlice::from_slice(packet).map_err(|error| match error {
        HeaderSliceError::Len(_) => Rejected::Truncated,
        HeaderSliceError::Content(HeaderError::UnexpectedVersion { .. }) => Rejected::IpVersion,
        HeaderSliceError::Content(HeaderError::HeaderLengthSmallerThanHeader { .. }) => {
            Rejected::IpHeaderLength
        }
    })?;
    let header_length = ip.slice().len();
    let length = usize::from(ip.total_len());
    if length < header_length {
        return Err(Rejected::IpTotalLength);
    }
    if !is_header_intact(ip.slice()) {
        return Err(Rejected::IpChecksum);
    }
    datagram.check_length(length)?;
    // Built only where it is needed, because copies would cost more than the rest of decoding.
    let header = || Header {
        source: IpAddr::V4(ip.source_addr()),
        target: IpAddr::V4(ip.destination_addr()),
        protocol: ip.protocol(),
        ip_options: if header_length > 20 { IpOptions::Present } else { IpOptions::Absent },
        ttl: ip.ttl(),
        ip_id: Some(ip.identification()),
        interface: datagram.interface,
        link: datagram.offset,
        length: header_length,
    };
    let payload = Payload::of(packet, header_length, length);
    if ip.is_fragmenting_payload() {
        return reassemble(&Fragment {
            header: header(),
            identification: ip.identification().into(),
            offset: u32::from(ip.fragments_offset().value()) * 8,
            more: ip.more_fragments(),
            payload,
            checksum,
        });
    }
    let (protocol, upper) = upper(ip.protocol(), payload)?;
    let addresses = Addresses::v4(ip.source(), ip.destination());
    let segment = transport::decode(addresses, protocol, upper, checksum)?;
    Ok(header().packet(segment, payload.length))
}

/// Decodes the transport layer of a complete datagram.
#[inline]
pub(super) fn upper(
    protocol: IpNumber,
    payload: Payload<'_>,
) -> Result<(IpNumber, Payload<'_>), Rejected> {
    match protocol {
        IpNumber::AUTHENTICATION_HEADER => extensions::authentication(payload),
        _ => Ok((protocol, payload)),
    }
}
