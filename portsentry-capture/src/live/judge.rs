//! From a frame of a live capture to an observation: decoding, and what only
//! the place of capture can tell.

use std::sync::Arc;

use super::Watched;
use crate::{LinkType, Packet, Rejected, decode, impossible_source};

/// A frame as it came from an interface.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'a> {
    pub(super) link: LinkType,
    /// What was captured of it.
    pub(super) bytes: &'a [u8],
    /// Its length on the wire, in bytes.
    pub(super) length: usize,
    /// Whether it came from a loopback interface.
    pub(super) on_loopback: bool,
}

/// The packet in `frame`, if it is one that this host would take.
pub(super) fn judge(frame: &Frame<'_>, watched: &Arc<Watched>) -> Result<Packet, Rejected> {
    let packet = decode(frame.link, frame.bytes)?.on_wire(frame.length)?;
    // Loopback addresses are own ones, but no stack takes them from outside
    // (RFC 1122 section 3.2.1.3).
    if !watched.addresses.contains(packet.target)
        || packet.target.is_loopback() && !frame.on_loopback
    {
        return Err(Rejected::NotForThisHost);
    }
    if impossible_source(packet.source, frame.on_loopback) {
        return Err(Rejected::ImpossibleSource);
    }
    Ok(packet)
}
