//! One fragment, and the datagram that it belongs to.

use std::net::IpAddr;

use super::ChecksumState;
use super::header::Header;
use super::payload::Payload;

/// A fragment as it was captured.
#[derive(Debug)]
pub(super) struct Fragment<'a> {
    /// That of the whole datagram, if this is the first fragment.
    pub(super) header: Header,
    pub(super) identification: u32,
    /// Of the first byte within the datagram, a multiple of 8.
    pub(super) offset: u32,
    /// More fragments follow.
    pub(super) more: bool,
    /// What is behind the fragment header, or the IPv4 header.
    pub(super) payload: Payload<'a>,
    pub(super) checksum: ChecksumState,
}

/// What fragments of one datagram have in common: for IPv4 source, target,
/// protocol and identification (RFC 791 section 3.2), for IPv6 the protocol of
/// the first fragment alone counts (RFC 8200 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct DatagramKey {
    source: IpAddr,
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
