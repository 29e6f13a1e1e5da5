//! Units of time.

use core::fmt;
use core::time::Duration;

/// Units and their lengths in seconds, the longest first.
pub(super) const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];

/// Shows a duration for people: whole seconds, in the longest unit without a rest,
/// as in `90 s`, `2 min` and `1 h`.
pub(super) struct InLongestUnit(pub(super) Duration);

impl fmt::Display for InLongestUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let fits =
            |(_, length): &(&str, u64)| seconds > 0 && seconds.checked_rem(*length) == Some(0);
        let (unit, length) = UNITS.into_iter().find(fits).unwrap_or(("s", 1));
        write!(f, "{} {unit}", seconds / length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn shown_in_the_longest_unit() {
        let check = |seconds: u64, expected: &str| {
            assert_eq!(InLongestUnit(Duration::from_secs(seconds)).to_string(), expected);
        };
        check(0, "0 s");
        check(30, "30 s");
        check(90, "90 s");
        check(120, "2 min");
        check(3_600, "1 h");
        check(86_400, "1 d");
    }
}
