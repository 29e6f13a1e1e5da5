//! Time stamps of capture files.

use portsentry_core::Timestamp;

const NANOS: i128 = 1_000_000_000;

/// Unit of a time stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tick {
    /// A second divided by ten to the power of this number.
    Decimal(u8),
    /// A second divided by two to the power of this number, which is at most 127.
    Binary(u8),
}

impl Tick {
    /// Microseconds, the default of pcapng.
    pub(super) const MICROSECOND: Self = Self::Decimal(6);
    pub(super) const NANOSECOND: Self = Self::Decimal(9);

    /// Decodes pcapng's option `if_tsresol`: the highest bit selects powers of two.
    pub(super) const fn from_tsresol(value: u8) -> Self {
        if value & 0x80 == 0 { Self::Decimal(value) } else { Self::Binary(value & 0x7f) }
    }

    /// Returns the time `ticks` after `seconds` since the Unix epoch. Saturates at the limits of
    /// [`Timestamp`].
    pub(super) fn time(self, seconds: i64, ticks: u64) -> Timestamp {
        let ticks = i128::from(ticks);
        let nanos = match self {
            Self::Decimal(power @ 0..=9) => ticks * 10_i128.pow(9 - u32::from(power)),
            // 64 bits of ticks below 10^-29 s are less than a nanosecond.
            Self::Decimal(power) => {
                10_i128.checked_pow(u32::from(power) - 9).map_or(0, |divisor| ticks / divisor)
            }
            Self::Binary(power) => (ticks * NANOS) >> power.min(127),
        };
        let nanos = i128::from(seconds) * NANOS + nanos;
        Timestamp::from_nanos(nanos.clamp(i64::MIN.into(), i64::MAX.into()) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_convert_to_timestamps() {
        // Tick, seconds, ticks, nanoseconds.
        let table = [
            (Tick::MICROSECOND, 0, 1_340_954_905_298_858, 1_340_954_905_298_858_000),
            (Tick::MICROSECOND, -7, 1, -6_999_999_000),
            (Tick::NANOSECOND, 1, 2, 1_000_000_002),
            (Tick::from_tsresol(0), 5, 3, 8_000_000_000),
            (Tick::from_tsresol(12), 0, 1_234_999, 1_234),
            (Tick::from_tsresol(0x7f), 9, u64::MAX, 9_000_000_000),
            (Tick::from_tsresol(0x80), 0, 3, 3_000_000_000),
            (Tick::from_tsresol(0x81), 0, 3, 1_500_000_000),
            (Tick::from_tsresol(0xa0), 0, 3 << 31, 1_500_000_000),
            (Tick::from_tsresol(0xff), 9, u64::MAX, 9_000_000_000),
            (Tick::from_tsresol(0), 0, u64::MAX, i64::MAX),
            (Tick::MICROSECOND, i64::MIN, 0, i64::MIN),
        ];
        for (tick, seconds, ticks, nanos) in table {
            assert_eq!(tick.time(seconds, ticks).as_nanos(), nanos, "{tick:?} {seconds} {ticks}");
        }
    }
}
