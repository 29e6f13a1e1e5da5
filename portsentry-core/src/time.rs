//! The two kinds of time; the caller reads the clocks.
//!
//! [`Timestamp`] is wall-clock time, for display only. [`Instant`] is monotonic time, for
//! comparisons only. A change of the wall clock or a packet with a wrong timestamp
//! therefore cannot shift a timeout.

use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A point of wall-clock time: nanoseconds since 1970-01-01T00:00:00Z.
///
/// It is the time of the packet, if there is one, and used for display only.
///
/// `Display` writes the form of RFC 3339, in UTC with nanoseconds. A precision shortens
/// the fraction (`{:.6}` writes microseconds).
///
/// ```
/// use portsentry_core::Timestamp;
///
/// let time = Timestamp::from_nanos(1_795_814_405_431_858_111);
/// assert_eq!(time.to_string(), "2026-11-27T21:20:05.431858111Z");
/// assert_eq!(format!("{time:.0}"), "2026-11-27T21:20:05Z");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timestamp(i64);

impl Timestamp {
    /// Creates a timestamp from nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Creates a timestamp from seconds and microseconds since the Unix epoch, as in capture
    /// files and `struct timeval`. Saturates at the limits of nanoseconds in an `i64` (the
    /// years 1677 and 2262).
    pub const fn from_seconds_micros(seconds: i64, micros: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(micros.saturating_mul(1_000)))
    }

    /// Returns the nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
}

/// A point of monotonic time: nanoseconds since an origin that the caller chooses, the same
/// for all calls of an engine.
///
/// A live program passes `CLOCK_MONOTONIC`; a replay passes the timestamps of its packets.
/// If an `Instant` goes back, the engine uses the latest one so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// Creates an instant from nanoseconds since the caller's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Creates an instant from whole seconds since the caller's origin.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Returns the nanoseconds since the caller's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the whole seconds since the caller's origin.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// Returns the time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// Returns `self` plus `wait`; the maximum if that overflows.
    pub const fn after(self, wait: Duration) -> Self {
        let nanos = wait.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        Self(self.0.saturating_add(nanos))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NANOS: i64 = 1_000_000_000;
        let (seconds, nanos) = (self.0.div_euclid(NANOS), self.0.rem_euclid(NANOS));
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        let digits = f.precision().unwrap_or(9).min(9);
        if digits > 0 {
            let fraction = nanos / 10_i64.pow(9 - digits as u32);
            write!(f, ".{fraction:0digits$}")?;
        }
        f.write_str("Z")
    }
}

/// Returns year, month and day of the Gregorian calendar for days since 1970-01-01 (Howard
/// Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
const fn civil(days: i64) -> (i64, i64, i64) {
    // Years start in March, eras of 400 years on 0000-03-01.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + 400 * era + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Adds like [`after`](Self::after).
    fn add(self, wait: Duration) -> Self {
        self.after(wait)
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// Subtracts like [`since`](Self::since).
    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn timestamps_have_the_form_of_rfc_3339() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (-1, "1969-12-31T23:59:59.000000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(Timestamp::from_seconds_micros(seconds, 0).to_string(), expected);
        }
        let ends = [i64::MIN, i64::MAX].map(|nanos| Timestamp::from_nanos(nanos).to_string());
        let expected = ["1677-09-21T00:12:43.145224192Z", "2262-04-11T23:47:16.854775807Z"];
        assert_eq!(ends, expected);
    }

    #[test]
    fn instants_saturate() {
        let (early, late) = (Instant::from_secs(1), Instant::from_secs(3));
        assert_eq!((late - early, early - late), (Duration::from_secs(2), Duration::ZERO));
        assert_eq!(early + Duration::from_secs(2), late);
        assert_eq!(late + Duration::MAX, Instant::from_nanos(u64::MAX));
    }
}
