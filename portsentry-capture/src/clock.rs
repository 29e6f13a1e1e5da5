//! The clocks of the kernel, in the types of `portsentry-core`.

use std::time::Duration;

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

/// Returns the time since the start of the system, including the time that it was suspended
/// (`CLOCK_BOOTTIME`). In a container with a time namespace, this is the container's.
#[must_use]
pub fn uptime() -> Duration {
    Duration::from_nanos(nanoseconds(clock_gettime(ClockId::Boottime)).unsigned_abs())
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
