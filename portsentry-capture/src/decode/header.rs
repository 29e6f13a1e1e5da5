//! The fields of an IP header that later layers need, of either version.

use std::net::IpAddr;

use etherparse::IpNumber;
use portsentry_core::IpOptions;

use super::Packet;
use super::transport::Segment;

/// Fields of the IP header of a packet, or of the datagram that starts with it.
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
}
