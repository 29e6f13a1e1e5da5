//! From a frame of a live capture to an observation: decoding, and what only
//! the place of capture can tell.

use portsentry_core::Instant;
use rustix::time::{ClockId, clock_gettime};

use super::Watched;
use crate::{Decoder, Frame, Packet, Rejected, impossible_source};

/// The packet that `frame` holds or completes, if it is one that this host would
/// take. Fragments are put together before their ports are known, but only those
/// for a watched address are kept.
pub(super) fn judge(
    decoder: &mut Decoder,
    frame: &Frame<'_>,
    on_loopback: bool,
    watched: &Watched,
    now: Instant,
) -> Result<Packet, Rejected> {
    decoder.decode(frame, now, |source, target| {
        // Loopback addresses are own ones, but no stack takes them from outside
        // (RFC 1122 section 3.2.1.3).
        if !watched.addresses.contains(target) || target.is_loopback() && !on_loopback {
            Err(Rejected::NotForThisHost)
        } else if impossible_source(source, on_loopback) {
            Err(Rejected::ImpossibleSource)
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
