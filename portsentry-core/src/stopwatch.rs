//! The clocks of the standard library, read by the caller.

use std::time;

use crate::{Instant, Timestamp};

/// Turns readings of the monotonic clock of the standard library into
/// [`Instant`]s, counted from its creation.
///
/// The core reads no clock: [`at`](Self::at) takes the reading as an argument.
///
/// ```
/// use portsentry_core::{Instant, Stopwatch};
/// use std::time::Duration;
///
/// let start = std::time::Instant::now();
/// let stopwatch = Stopwatch::new(start);
/// assert_eq!(stopwatch.at(start + Duration::from_secs(2)), Instant::from_secs(2));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(time::Instant);

impl Stopwatch {
    /// A stopwatch whose origin is `start`.
    pub const fn new(start: time::Instant) -> Self {
        Self(start)
    }

    /// The reading `now` of the monotonic clock; the origin for an earlier one.
    pub fn at(&self, now: time::Instant) -> Instant {
        Instant::default() + now.saturating_duration_since(self.0)
    }
}

impl From<time::SystemTime> for Timestamp {
    /// Saturates where a [`Timestamp`] ends (the years 1677 and 2262).
    fn from(time: time::SystemTime) -> Self {
        let nanos = match time.duration_since(time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |nanos| -nanos)
            }
        };
        Self::from_nanos(nanos)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn system_times_before_and_after_the_epoch() {
        let nanos = |time: SystemTime| Timestamp::from(time).as_nanos();
        let second = Duration::from_nanos(1_000_000_001);
        assert_eq!(nanos(UNIX_EPOCH + second), 1_000_000_001);
        assert_eq!(nanos(UNIX_EPOCH - second), -1_000_000_001);
        assert_eq!(nanos(UNIX_EPOCH + Duration::from_secs(1 << 40)), i64::MAX);
    }
}
