//! Decodes frames of a live capture with the checks that need to know this host.

use std::net::IpAddr;

use portsentry_core::Instant;

use super::Watched;
use crate::{Decoder, Frame, Packet, Rejected, martian_source};

/// The interface on which a frame arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    /// Its index; 0 if it is unknown.
    pub(super) interface: u32,
    pub(super) on_loopback: bool,
}

/// Returns the packet in `frame`, or the one that it completes, if this host would accept it.
/// Only fragments for a watched address are kept for reassembly, and none in the name of such an
/// address: the kernel drops them before reassembly (`fib_validate_source` in
/// `net/ipv4/fib_frontend.c`), or sends its answers to itself.
pub(super) fn decode_for_host(
    decoder: &mut Decoder,
    frame: &Frame<'_>,
    arrival: Arrival,
    watched: &Watched,
    now: Instant,
) -> Result<Packet, Rejected> {
    let admit = |source, target: IpAddr| {
        if !watched.addresses.contains(target)
            || target.is_loopback() && !accepts_loopback(target, arrival, watched)
        {
            Err(Rejected::NotForThisHost)
        } else if martian_source(source, arrival.on_loopback) {
            Err(Rejected::MartianSource)
        } else {
            Ok(())
        }
    };
    let admit_fragment = |source, target| {
        if !arrival.on_loopback && watched.addresses.contains(source) {
            return Err(Rejected::MartianSource);
        }
        admit(source, target)
    };
    decoder.decode_admitted(frame, now, admit, admit_fragment)
}

/// Returns whether the kernel accepts a packet to this loopback address. From the wire it accepts
/// none (RFC 1122 section 3.2.1.3), unless the interface has the setting `route_localnet`.
fn accepts_loopback(target: IpAddr, arrival: Arrival, watched: &Watched) -> bool {
    arrival.on_loopback || target.is_ipv4() && watched.accepts_loopback_from(arrival.interface)
}
