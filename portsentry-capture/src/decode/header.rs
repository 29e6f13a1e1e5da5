//! Fields of the IP header that the transport layer needs, for both IP versions.

use std::net::IpAddr;

use etherparse::IpNumber;
use portsentry_core::IpOptions;

use super::Packet;
use super::transport::Segment;

/// Fields of the IP header of a packet, or of the reassembled datagram that starts with it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) source: IpAddr,
    pub(super) target: IpAddr,
    /// Protocol of the payload.
    pub(super) protocol: IpNumber,
    pub(super) ip_options: IpOptions,
    pub(super) ttl: u8,
    pub(super) ip_id: Option<u16>,
    pub(super) interface: u32,
    /// Length of the link header, in bytes.
    pub(super) link: usize,
    /// Length in bytes of the IP header, and of the extension headers before the fragment header.
    pub(super) length: usize,
}

impl Header {
    /// Returns the packet of a segment. `length` is that of the datagram after the IP header, in
    /// bytes.
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
