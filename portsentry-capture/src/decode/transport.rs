//! TCP and UDP headers.

use etherparse::{IpNumber, TcpHeaderSlice, UdpHeaderSlice};
use portsentry_core::{Evidence, TcpFlags, TcpSegment};

use super::checksum::{Addresses, is_segment_intact};
use super::link::IpVersion;
use super::payload::Payload;
use super::{ChecksumState, Rejected};

/// Lengths in bytes of a TCP header without options, and of a UDP header.
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// Fields of the transport header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) source_port: u16,
    pub(super) target_port: u16,
    pub(super) evidence: Evidence,
}

/// Decodes the transport header at the start of `payload`.
#[inline]
pub(super) fn decode(
    addresses: Addresses,
    protocol: IpNumber,
    payload: Payload<'_>,
    checksum: ChecksumState,
) -> Result<Segment, Rejected> {
    match protocol {
        IpNumber::TCP => tcp(addresses, payload, checksum),
        IpNumber::UDP => udp(addresses, payload, checksum),
        IpNumber::ENCAPSULATING_SECURITY_PAYLOAD => Err(Rejected::Encrypted),
        IpNumber::IPV6_NO_NEXT_HEADER => Err(Rejected::NoNextHeader),
        _ => Err(Rejected::OtherTransport),
    }
}

fn tcp(
    addresses: Addresses,
    payload: Payload<'_>,
    checksum: ChecksumState,
) -> Result<Segment, Rejected> {
    if payload.length < TCP_HEADER {
        return Err(Rejected::TransportHeader);
    }
    let Some(fixed) = payload.captured.first_chunk::<TCP_HEADER>() else {
        return Err(Rejected::Truncated);
    };
    let [_, _, _, _, _, _, _, _, _, _, _, _, offset, control, ..] = *fixed;
    let header_length = usize::from(offset >> 4) * 4;
    if header_length < TCP_HEADER || header_length > payload.length {
        return Err(Rejected::TcpDataOffset);
    }
    let without_options;
    let header = match TcpHeaderSlice::from_slice(payload.captured) {
        Ok(header) => header,
        // The capture ends within the options, so the header is read without them.
        Err(_) => {
            let mut copy = *fixed;
            copy[12] = 0x50;
            without_options = copy;
            TcpHeaderSlice::from_slice(&without_options).or(Err(Rejected::Truncated))?
        }
    };
    if checksum == ChecksumState::Unknown
        && let Some(segment) = payload.captured.get(..payload.length)
        && !is_segment_intact(addresses, IpNumber::TCP, segment, header.checksum())
    {
        return Err(Rejected::TcpChecksum);
    }
    Ok(Segment {
        source_port: header.source_port(),
        target_port: header.destination_port(),
        evidence: Evidence::Segment(
            TcpSegment::new(TcpFlags::from_bits(u16::from_be_bytes([offset, control])))
                .with_sequence(header.sequence_number())
                .with_window(header.window_size()),
        ),
    })
}

fn udp(
    addresses: Addresses,
    payload: Payload<'_>,
    checksum: ChecksumState,
) -> Result<Segment, Rejected> {
    if payload.length < UDP_HEADER {
        return Err(Rejected::TransportHeader);
    }
    let header = UdpHeaderSlice::from_slice(payload.captured).or(Err(Rejected::Truncated))?;
    let length = match (usize::from(header.length()), addresses.version) {
        // The datagram is the rest of a jumbogram (RFC 2675 section 4). Linux accepts this
        // in any IPv6 packet, so a probe can use it.
        (0, IpVersion::V6) => payload.length,
        (length, _) => length,
    };
    if length < UDP_HEADER || length > payload.length {
        return Err(Rejected::UdpLength);
    }
    let intact = match (header.checksum(), addresses.version) {
        // The sender computed no checksum (RFC 768); IPv6 forbids that (RFC 8200 section 8.1).
        (0, IpVersion::V4) => true,
        (0, IpVersion::V6) => checksum == ChecksumState::NotReady,
        (field, _) => {
            checksum != ChecksumState::Unknown
                || payload.captured.get(..length).is_none_or(|datagram| {
                    is_segment_intact(addresses, IpNumber::UDP, datagram, field)
                })
        }
    };
    if !intact {
        return Err(Rejected::UdpChecksum);
    }
    Ok(Segment {
        source_port: header.source_port(),
        target_port: header.destination_port(),
        evidence: Evidence::Datagram,
    })
}
