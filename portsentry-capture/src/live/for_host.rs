//! Decodes frames of a live capture with the checks that need to know this host.

use portsentry_core::Instant;

use super::Watched;
use crate::{Decoder, Frame, Packet, Rejected, martian_source};

/// Returns the packet in `frame`, or the one that it completes, if this host would accept it.
/// Only fragments for a watched address are kept for reassembly.
pub(super) fn decode_for_host(
    decoder: &mut Decoder,
    frame: &Frame<'_>,
    on_loopback: bool,
    watched: &Watched,
    now: Instant,
) -> Result<Packet, Rejected> {
    decoder.decode(frame, now, |source, target| {
        // No stack accepts loopback addresses from outside (RFC 1122 section 3.2.1.3).
        if !watched.addresses.contains(target) || target.is_loopback() && !on_loopback {
            Err(Rejected::NotForThisHost)
        } else if martian_source(source, on_loopback) {
            Err(Rejected::MartianSource)
        } else {
            Ok(())
        }
    })
}
