//! One fragment, and the datagram that it belongs to.

use std::net::IpAddr;

use super::ChecksumState;
use super::header::Header;
use super::payload::Payload;

/// A captured fragment.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    /// Header of the fragment; that of the first fragment is the header of the datagram.
    pub(super) header: Header,
    pub(super) identification: u32,
    /// Offset of the first byte within the datagram, in bytes; a multiple of 8.
    pub(super) offset: u32,
    /// Whether more fragments follow.
    pub(super) more: bool,
    /// The bytes after the fragment header, or after the IPv4 header.
    pub(super) payload: Payload<'a>,
    pub(super) checksum: ChecksumState,
}

/// The fields that identify the datagram of a fragment. Over IPv4 they include the protocol
/// (RFC 791 section 3.2). Over IPv6 only the protocol of the first fragment counts (RFC 8200
/// section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DatagramKey {
    pub(super) source: IpAddr,
    target: IpAddr,
    identification: u32,
    protocol: Option<u8>,
    interface: u32,
}

impl Fragment<'_> {
    pub(super) fn key(&self) -> DatagramKey {
        let Header { source, target, protocol, interface, .. } = self.header;
        DatagramKey {
            source,
            target,
            identification: self.identification,
            protocol: target.is_ipv4().then_some(protocol.0),
            interface,
        }
    }
}
