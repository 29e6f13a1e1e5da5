//! The two clocks the core knows, both read by the caller.
//!
//! [`Timestamp`] is wall-clock time and only ever printed. [`Instant`] is
//! monotonic time and only ever compared. Keeping them apart means that a
//! stepped clock or a packet with an absurd time stamp cannot shift a time-out.

use core::time::Duration;

/// A point of wall-clock time: nanoseconds since 1970-01-01T00:00:00Z.
///
/// Taken from the packet where there is one. Used for display only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// From seconds and microseconds since the Unix epoch, as capture files
    /// and `struct timeval` hold them. Saturates where an `i64` of nanoseconds
    /// ends (the years 1677 and 2262).
    pub const fn from_seconds_micros(seconds: i64, micros: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(micros.saturating_mul(1_000)))
    }

    /// Nanoseconds since the Unix epoch.
    pub const fn as_nanos(self) -> i64 {
        self.0
    }
}

/// A point of monotonic time: nanoseconds since an origin of the caller's
/// choice, the same one for every call into an engine.
///
/// A live program passes `CLOCK_MONOTONIC`; a replay passes the time stamps of
/// its packets. The engine tolerates an `Instant` that goes back: it then
/// treats it as the latest one it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// From nanoseconds since the caller's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From whole seconds since the caller's origin.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000_000))
    }

    /// Nanoseconds since the caller's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whole seconds since the caller's origin.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000_000
    }

    /// The time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// `self` plus `wait`, the end of time if that does not fit.
    pub const fn after(self, wait: Duration) -> Self {
        let nanos = wait.as_nanos();
        let nanos = if nanos > u64::MAX as u128 { u64::MAX } else { nanos as u64 };
        Self(self.0.saturating_add(nanos))
    }
}
