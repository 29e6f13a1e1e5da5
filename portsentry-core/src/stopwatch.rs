//! Conversions from the clocks of the standard library, which the caller reads.

use std::time;

use crate::{Instant, Timestamp};

/// Converts times of the standard library's monotonic clock to [`Instant`]s, relative to
/// a start time.
///
/// The core reads no clock: the time is an argument of [`at`](Self::at).
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
    /// Creates a stopwatch with the origin `start`.
    pub const fn new(start: time::Instant) -> Self {
        Self(start)
    }

    /// Converts the time `now` of the monotonic clock. An earlier time than the origin
    /// counts as the origin.
    pub fn at(&self, now: time::Instant) -> Instant {
        Instant::default() + now.saturating_duration_since(self.0)
    }
}

impl From<time::SystemTime> for Timestamp {
    /// Saturates at the limits of [`Timestamp`] (the years 1677 and 2262).
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
