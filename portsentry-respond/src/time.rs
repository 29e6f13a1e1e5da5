//! The clock of the program.

use portsentry_core::Instant;
use rustix::time::{ClockId, clock_gettime};

/// The monotonic clock, for the engine.
pub(crate) fn monotonic() -> Instant {
    let now = clock_gettime(ClockId::Monotonic);
    Instant::from_nanos(now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned())
}
