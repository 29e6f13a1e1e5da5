//! TCP and UDP headers.

use etherparse::{IpNumber, TcpHeaderSlice, UdpHeaderSlice};
use portsentry_core::{Evidence, TcpFlags, TcpSegment};

use super::Rejected;
use super::link::IpVersion;
use super::network::Payload;

/// Bytes of a TCP header without options, and of a UDP header.
const TCP_HEADER: usize = 20;
const UDP_HEADER: usize = 8;

/// What the transport header tells.
pub(super) struct Segment {
    pub(super) source_port: u16,
    pub(super) target_port: u16,
    pub(super) evidence: Evidence,
}

/// Decodes the transport header at the start of `payload`.
pub(super) fn decode(
    version: IpVersion,
    protocol: IpNumber,
    payload: Payload<'_>,
) -> Result<Segment, Rejected> {
    match protocol {
        IpNumber::TCP => tcp(payload),
        IpNumber::UDP => udp(version, payload),
        IpNumber::ENCAPSULATING_SECURITY_PAYLOAD => Err(Rejected::Encrypted),
        IpNumber::IPV6_NO_NEXT_HEADER => Err(Rejected::NoNextHeader),
        _ => Err(Rejected::OtherTransport),
    }
}

fn tcp(payload: Payload<'_>) -> Result<Segment, Rejected> {
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
        // The capture ends within the options: read the header as if it had none.
        Err(_) => {
            let mut copy = *fixed;
            copy[12] = 0x50;
            without_options = copy;
            TcpHeaderSlice::from_slice(&without_options).or(Err(Rejected::Truncated))?
        }
    };
    Ok(Segment {
        source_port: header.source_port(),
        target_port: header.destination_port(),
        evidence: Evidence::Segment(TcpSegment {
            flags: TcpFlags::from_bits(u16::from_be_bytes([offset, control])),
            sequence: header.sequence_number(),
            window: header.window_size(),
        }),
    })
}

fn udp(version: IpVersion, payload: Payload<'_>) -> Result<Segment, Rejected> {
    if payload.length < UDP_HEADER {
        return Err(Rejected::TransportHeader);
    }
    let header = UdpHeaderSlice::from_slice(payload.captured).or(Err(Rejected::Truncated))?;
    let length = match (usize::from(header.length()), version) {
        // All the rest of a jumbogram (RFC 2675 section 4). Linux takes it so
        // in any IPv6 packet, so a probe can be written that way.
        (0, IpVersion::V6) => payload.length,
        (length, _) => length,
    };
    if length < UDP_HEADER || length > payload.length {
        return Err(Rejected::UdpLength);
    }
    Ok(Segment {
        source_port: header.source_port(),
        target_port: header.destination_port(),
        evidence: Evidence::Datagram,
    })
}
