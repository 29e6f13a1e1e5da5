//! Durations: `30`, `30s`, `5min`, `2h`, `1d`.

use core::time::Duration;

use super::diagnostic::Report;
use super::span::Fragment;
use super::units::UNITS;
use super::{Excerpt, Problem};

/// Reads a duration from `min` to `max`: digits, and a unit behind them. Blanks may
/// separate the two. Digits alone are seconds.
pub(super) fn read_duration(
    text: Fragment<'_>,
    min: Duration,
    max: Duration,
    report: &mut Report,
) -> Option<Duration> {
    let (digits, unit) = text.trim().split_before(|c| !c.is_ascii_digit());
    if digits.is_empty() {
        report.error(text, Problem::NotADuration(Excerpt::of(text.text())));
        return None;
    }
    let unit = unit.trim_start();
    let Some(seconds) = seconds_of(unit.text()) else {
        report.error(unit, Problem::NotAUnit(Excerpt::of(unit.text())));
        return None;
    };
    // Digits can only fail to parse because there are too many.
    let number = digits.text().parse::<u64>().ok();
    let duration = number.and_then(|number| number.checked_mul(seconds)).map(Duration::from_secs);
    let valid = duration.filter(|duration| (min..=max).contains(duration));
    if valid.is_none() {
        let duration = Excerpt::of(text.text());
        report.error(text, Problem::DurationOutOfRange { duration, min, max });
    }
    valid
}

/// Returns the length of a unit in seconds.
fn seconds_of(unit: &str) -> Option<u64> {
    if unit.is_empty() {
        return Some(1);
    }
    UNITS.into_iter().find(|(name, _)| *name == unit).map(|(_, seconds)| seconds)
}

#[cfg(test)]
mod tests {
    use super::super::span::Line;
    use super::super::units::InLongestUnit;
    use super::super::value::Value;
    use super::super::{Diagnostic, ValueKind};
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::{String, ToString};
    use std::vec::Vec;

    fn read(text: &str, max: Duration) -> Result<Duration, Vec<Diagnostic>> {
        let mut report = Report::default();
        let line = Line::of_text(text);
        let duration = read_duration(line.fragment(), Duration::from_secs(1), max, &mut report);
        duration.ok_or(report.finish())
    }

    #[test]
    fn units() {
        let check = |text: &str, seconds: u64| {
            assert_eq!(read(text, Duration::MAX), Ok(Duration::from_secs(seconds)), "{text}");
        };
        check("30", 30);
        check("030", 30);
        check("30s", 30);
        check("30 s", 30);
        check("5min", 300);
        check("2\th", 7_200);
        check("365d", 31_536_000);
        check(" 1d ", 86_400);
    }

    #[test]
    fn malformed_durations() {
        let check = |text: &str, column: usize, length: usize, message: &str| {
            let found = read(text, Duration::from_secs(3_600)).unwrap_err();
            let found: Vec<(usize, usize, String)> = found
                .iter()
                .map(|it| (it.span.column, it.span.length, it.problem.to_string()))
                .collect();
            assert_eq!(found, [(column, length, message.into())], "{text}");
        };
        let form = "is not a duration; write a number of seconds, or a number with a unit: `30`, \
                    `30s`, `5min`, `2h` or `1d`";
        check("x", 1, 1, &format!("`x` {form}"));
        check("-1", 1, 2, &format!("`-1` {form}"));
        check("s", 1, 1, &format!("`s` {form}"));
        let unit = "is not a unit of time; write `s`, `min`, `h` or `d`";
        check("30 seconds", 4, 7, &format!("`seconds` {unit}"));
        check("5m", 2, 1, &format!("`m` {unit}"));
        check("1.5h", 2, 3, &format!("`.5h` {unit}"));
        check("1h 30min", 2, 7, &format!("`h 30min` {unit}"));
        check("5MIN", 2, 3, &format!("`MIN` {unit}"));
        check("0", 1, 1, "`0` is not between 1 s and 1 h");
        check("2h", 1, 2, "`2h` is not between 1 s and 1 h");
        check("3601", 1, 4, "`3601` is not between 1 s and 1 h");
        let many = "9".repeat(20);
        check(&many, 1, 20, &format!("`{many}` is not between 1 s and 1 h"));
        check("999999999999999d", 1, 16, "`999999999999999d` is not between 1 s and 1 h");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(seconds in any::<u64>()) {
            let mut value = Duration::from_secs(seconds);
            let text = value.write().unwrap();
            let kind = ValueKind::Duration { min: Duration::ZERO, max: Duration::MAX };
            value.clear();
            let mut report = Report::default();
            value.read(Line::of_text(&text).fragment(), kind, &mut report);
            prop_assert_eq!(report.finish(), []);
            prop_assert_eq!(value, Duration::from_secs(seconds));
        }

        #[test]
        fn a_unit_multiplies(number in 1_u64..1_000_000, unit in 0..UNITS.len()) {
            let (unit, seconds) = UNITS[unit];
            let expected = Duration::from_secs(number * seconds);
            prop_assert_eq!(read(&format!("{number}{unit}"), Duration::MAX), Ok(expected));
            // A file can contain the form for people.
            prop_assert_eq!(read(&InLongestUnit(expected).to_string(), Duration::MAX), Ok(expected));
        }
    }
}
