//! Decodes an IP packet of either version up to its transport header.
//!
//! The length in the IP header bounds everything after it.

use std::net::IpAddr;

use etherparse::IpNumber;

use super::checksum::Addresses;
use super::fragment::Fragment;
use super::header::Header;
use super::link::{Datagram, IpVersion};
use super::payload::Payload;
use super::{ChecksumState, Packet, Rejected, ipv4, ipv6, transport};

/// Decodes an IP packet. Passes a fragment to `reassemble`, which may have the rest of its
/// datagram.
#[inline]
pub(super) fn read(
    datagram: &Datagram<'_>,
    checksum: ChecksumState,
    reassemble: impl FnOnce(&Fragment<'_>) -> Result<Packet, Rejected>,
) -> Result<Packet, Rejected> {
    match datagram.version {
        IpVersion::V4 => ipv4::read(datagram, checksum, reassemble),
        IpVersion::V6 => ipv6::read(datagram, checksum, reassemble),
    }
}

/// Returns the packet of a reassembled datagram.
pub(super) fn reassembled(
    header: Header,
    payload: Payload<'_>,
    checksum: ChecksumState,
) -> Result<Packet, Rejected> {
    let (addresses, protocol, upper) = upper(header, payload)?;
    let segment = transport::decode(addresses, protocol, upper, checksum)?;
    Ok(header.packet(segment, payload.length))
}

/// Returns the packet of a datagram that may be incomplete, from its first bytes. `length` is that
/// of the datagram, as far as it is known. The checksum cannot be verified. If the flags of a TCP
/// segment are in a missing fragment, they are empty.
pub(super) fn unfinished(
    header: Header,
    captured: &[u8],
    length: usize,
) -> Result<Packet, Rejected> {
    // The headers may announce any length.
    let longest = Payload { captured, length: usize::from(u16::MAX) };
    let (addresses, protocol, upper) = upper(header, longest)?;
    let padded;
    let upper = match (protocol, upper.captured) {
        (IpNumber::TCP, short) if (8..20).contains(&short.len()) => {
            let mut bytes = [0; 20];
            bytes.iter_mut().zip(short).for_each(|(byte, known)| *byte = *known);
            // A header without options.
            bytes[12] = 0x50 | bytes[12] & 0x0f;
            padded = bytes;
            Payload { captured: &padded, ..upper }
        }
        _ => upper,
    };
    let segment = transport::decode(addresses, protocol, upper, ChecksumState::Valid)?;
    Ok(header.packet(segment, length))
}

/// Skips the headers of a datagram before its transport header.
fn upper(
    header: Header,
    payload: Payload<'_>,
) -> Result<(Addresses, IpNumber, Payload<'_>), Rejected> {
    let (addresses, (protocol, upper)) = match (header.source, header.target) {
        (IpAddr::V4(source), IpAddr::V4(target)) => {
            let addresses = Addresses::v4(source.octets(), target.octets());
            (addresses, ipv4::upper(header.protocol, payload)?)
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let addresses = Addresses::v6(source.octets(), target.octets());
            (addresses, ipv6::upper_of_reassembled(header.protocol, payload)?)
        }
        // No header has addresses of both families.
        _ => return Err(Rejected::IpVersion),
    };
    Ok((addresses, protocol, upper))
}
