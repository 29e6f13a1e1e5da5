//! Decodes an IP packet of either version up to its transport header.
//!
//! The length in the IP header bounds everything after it.

use std::net::IpAddr;

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
    let segment = transport::decode(addresses, protocol, upper, checksum)?;
    Ok(header.packet(segment, payload.length))
}
