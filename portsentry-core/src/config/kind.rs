//! The kinds of values.

use core::fmt;
use core::time::Duration;

use super::units::InLongestUnit;

/// The form of a key's value. `Display` describes it in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueKind {
    /// Ports and inclusive ranges, separated by commas; or `ALL`.
    Ports,
    /// Networks, separated by commas or blanks; may be empty.
    Networks,
    /// A path. Relative paths are relative to the directory that the program was
    /// started in. Empty is unset.
    Path,
    /// `0` or `1`.
    Switch,
    /// `0`, `1` or `2`: see [`BlockMode`](super::BlockMode).
    BlockMode,
    /// A command for `/bin/sh -c`, a [`Template`](super::Template). Empty is unset.
    #[non_exhaustive]
    Command {
        /// Whether it must contain `$TARGET$`.
        needs_target: bool,
    },
    /// A line of `hosts.deny`, a [`Template`](super::Template) that contains
    /// `$TARGET$`. Empty is unset.
    HostsDenyLine,
    /// Any text.
    Text,
    /// The name or number of a user.
    User,
    /// A decimal number from `min` to `max`.
    #[non_exhaustive]
    Number {
        /// The smallest valid number.
        min: u32,
        /// The largest valid number.
        max: u32,
        /// The unit; empty for a plain count.
        unit: &'static str,
    },
    /// A duration from `min` to `max`: a number with the unit `s`, `min`, `h` or `d`,
    /// or a number of seconds without a unit.
    #[non_exhaustive]
    Duration {
        /// The shortest valid duration, in whole seconds.
        min: Duration,
        /// The longest valid duration, in whole seconds.
        max: Duration,
    },
}

impl ValueKind {
    /// Returns whether a value must not contain `c`. Control characters are harmful in names,
    /// commands and lines of other files. A banner may contain terminal control characters,
    /// but not NUL, which would end it.
    pub(super) fn forbids(self, c: char) -> bool {
        match self {
            Self::Text => c == '\0',
            _ => c.is_control() && c != '\t',
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ports => "ports, such as 1,7,10-20, or ALL",
            Self::Networks => "networks, such as 192.0.2.0/24, 2001:db8::/32",
            Self::Path => "path",
            Self::Switch => "0 or 1",
            Self::BlockMode => "0, 1 or 2",
            Self::Command { .. } => "shell command",
            Self::HostsDenyLine => "line of hosts.deny",
            Self::Text => "text",
            Self::User => "user",
            Self::Number { min, max, unit: "" } => return write!(f, "{min} to {max}"),
            Self::Number { min, max, unit } => return write!(f, "{min} to {max} {unit}"),
            Self::Duration { min, max } => {
                return write!(f, "duration, {} to {}", InLongestUnit(*min), InLongestUnit(*max));
            }
        })
    }
}
