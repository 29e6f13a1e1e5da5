//! IP headers: what they tell, whichever version wrote them.
//!
//! [`read`] goes from an IP packet to its transport header, or stops at the
//! header of a fragment. The length that the IP header gives bounds everything
//! behind it.

use std::net::IpAddr;

use etherparse::IpNumber;
use portsentry_core::IpOptions;

use super::checksum::Addresses;
use super::fragment::Fragment;
use super::link::{Datagram, IpVersion};
use super::payload::Payload;
use super::transport::Segment;
use super::{ChecksumState, Packet, Rejected, ipv4, ipv6, transport};

/// What the IP header tells of a packet, or of the datagram that begins with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) source: IpAddr,
    pub(super) target: IpAddr,
    /// Of what follows.
    pub(super) protocol: IpNumber,
    pub(super) ip_options: IpOptions,
    pub(super) ttl: u8,
    pub(super) ip_id: Option<u16>,
    pub(super) interface: u32,
    /// Bytes of the link header.
    pub(super) link: usize,
    /// Bytes of the IP header, and of the extension headers that each fragment
    /// has in front of its fragment header.
    pub(super) length: usize,
}

/// Reads an IP packet, or gives a fragment to `reassemble`, which may have the
/// rest of its datagram.
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

impl Header {
    /// The packet of a segment, in a datagram of `length` bytes behind the IP
    /// header.
    #[inline]
    pub(super) fn packet(self, segment: Segment, length: usize) -> Packet {
        Packet {
            source: self.source,
            target: self.target,
            source_port: segment.source_port,
            target_port: segment.target_port,
            evidence: segment.evidence,
            ip_options: self.ip_options,
            ttl: self.ttl,
            ip_id: self.ip_id,
            interface: self.interface,
            wire_length: self.link + self.length + length,
        }
    }

    /// The packet of a datagram that was put together.
    pub(super) fn reassembled(
        self,
        payload: Payload<'_>,
        checksum: ChecksumState,
    ) -> Result<Packet, Rejected> {
        let (addresses, (protocol, upper)) = match (self.source, self.target) {
            (IpAddr::V4(source), IpAddr::V4(target)) => {
                let addresses = Addresses::v4(source.octets(), target.octets());
                (addresses, ipv4::upper(self.protocol, payload)?)
            }
            (IpAddr::V6(source), IpAddr::V6(target)) => {
                let addresses = Addresses::v6(source.octets(), target.octets());
                (addresses, ipv6::upper_of_reassembled(self.protocol, payload)?)
            }
            // No header has addresses of both families.
            _ => return Err(Rejected::IpVersion),
        };
        let segment = transport::decode(addresses, protocol, upper, checksum)?;
        Ok(self.packet(segment, payload.length))
    }
}
