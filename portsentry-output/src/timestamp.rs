//! Timestamps of the history, in local time.

use jiff::tz::TimeZone;
use portsentry_core::Timestamp;

const NANOS_PER_MINUTE: i64 = 60_000_000_000;

/// Writes `2026-11-22T17:27:03.123+0000`: local time to the millisecond and
/// the numeric zone without colon, 28 characters.
///
/// All fields except seconds and milliseconds are cached for one minute. A timestamp
/// costs a lookup in the time zone once a minute, and about 20 ns otherwise.
#[derive(Debug)]
pub struct Stamper {
    zone: TimeZone,
    /// The Unix minute of the cached texts.
    minute: Option<i64>,
    /// The text before the seconds, including the colon.
    before: String,
    /// The zone, which follows the milliseconds.
    after: String,
}

impl Stamper {
    /// Creates a stamper for the time zone of the system (`TZ`, or `/etc/localtime`).
    pub fn system() -> Self {
        Self::in_zone(TimeZone::system())
    }

    /// Creates a stamper for `zone`.
    fn in_zone(zone: TimeZone) -> Self {
        Self { zone, minute: None, before: String::new(), after: String::new() }
    }

    /// Appends the timestamp of `time` to `line`. Times outside the years 0 to 9999 are
    /// written as the nearest time inside.
    pub fn append(&mut self, time: Timestamp, line: &mut Vec<u8>) {
        let nanos = time.as_nanos();
        let minute = nanos.div_euclid(NANOS_PER_MINUTE);
        if self.minute != Some(minute) {
            self.turn_to(minute);
        }
        let millis = nanos.rem_euclid(NANOS_PER_MINUTE) / 1_000_000;
        line.extend_from_slice(self.before.as_bytes());
        let digit = |divisor: i64| b'0' + (millis / divisor % 10) as u8;
        line.extend_from_slice(&[digit(10_000), digit(1_000), b'.']);
        line.extend_from_slice(&[digit(100), digit(10), digit(1)]);
        line.extend_from_slice(self.after.as_bytes());
    }

    fn turn_to(&mut self, minute: i64) {
        let at = jiff::Timestamp::from_second(minute * 60).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let local = at.to_zoned(self.zone.clone());
        self.before = local.strftime("%Y-%m-%dT%H:%M:").to_string();
        self.after = local.strftime("%z").to_string();
        self.minute = Some(minute);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(zone: &str, nanos: i64, expected: &str) {
        let mut stamper = Stamper::in_zone(TimeZone::posix(zone).unwrap());
        let mut line = Vec::new();
        stamper.append(Timestamp::from_nanos(nanos), &mut line);
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    // Expected values: `TZ=... date -d @... +%FT%T.%3N%z`.
    #[test]
    fn timestamps_equal_those_of_date() {
        check("UTC0", 1_795_368_423_123_999_999, "2026-11-22T17:27:03.123+0000");
        check(
            "CET-1CEST,M3.5.0,M10.5.0/3",
            1_795_368_423_000_000_000,
            "2026-11-22T18:27:03.000+0100",
        );
        check(
            "CET-1CEST,M3.5.0,M10.5.0/3",
            1_783_000_000_000_000_000,
            "2026-07-02T15:46:40.000+0200",
        );
        check("<-0330>3:30", 1_795_368_423_009_000_000, "2026-11-22T13:57:03.009-0330");
        check("UTC0", 0, "1970-01-01T00:00:00.000+0000");
        check("UTC0", -1, "1969-12-31T23:59:59.999+0000");
        check("UTC0", i64::MAX, "2262-04-11T23:47:16.854+0000");
        check("UTC0", i64::MIN, "1677-09-21T00:12:43.145+0000");
    }

    #[test]
    fn a_cached_minute_is_replaced_after_its_end() {
        let mut stamper = Stamper::in_zone(TimeZone::UTC);
        let mut text = Vec::new();
        for second in [59, 60, 0, 61] {
            stamper.append(Timestamp::from_seconds_micros(second, 5_000), &mut text);
            text.push(b' ');
        }
        assert_eq!(
            String::from_utf8(text).unwrap(),
            "1970-01-01T00:00:59.005+0000 1970-01-01T00:01:00.005+0000 \
             1970-01-01T00:00:00.005+0000 1970-01-01T00:01:01.005+0000 "
        );
    }
}
