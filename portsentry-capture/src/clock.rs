//! The two clocks of the kernel, in the types of `portsentry-core`.

use portsentry_core::{Instant, Timestamp};
use rustix::time::{ClockId, Timespec, clock_gettime};

/// Returns the time of the monotonic clock (`CLOCK_MONOTONIC`), for the engine's time-outs.
/// About 20 ns, so call it once for each batch of packets.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::from_nanos(nanoseconds(clock_gettime(ClockId::Monotonic)).unsigned_abs())
}

/// Returns the wall-clock time (`CLOCK_REALTIME`). The kernel stamps packets with this clock.
/// About 20 ns.
#[must_use]
pub fn wall() -> Timestamp {
    Timestamp::from_nanos(nanoseconds(clock_gettime(ClockId::Realtime)))
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
