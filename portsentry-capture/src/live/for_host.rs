//! Decodes frames of a live capture with the checks that need to know this host.

use portsentry_core::Instant;
use rustix::time::{ClockId, clock_gettime};

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

/// The time that fragments wait by. Some 20 ns: to be asked once for a batch of
/// packets.
pub(super) fn now() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, nanoseconds) = (now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs());
    Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds))
}
