//! One key of the configuration: what is known of it, and its place in
//! [`Settings`].

use alloc::string::String;
use core::fmt;

use super::diagnostic::Report;
use super::span::{Fragment, Line};
use super::value::Value;
use super::{KEYS, Problem, Settings};

/// A row of [`KEYS`].
#[derive(Clone, Copy)]
pub struct Key {
    /// As it stands in the file.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: ValueKind,
    /// What holds while the file does not set it.
    pub default: DefaultValue,
    /// What it is, in one line without a full stop.
    pub summary: &'static str,
    /// More about it, in sentences; may be empty.
    pub help: &'static str,
    pub(super) field: fn(&Settings) -> &dyn Value,
    pub(super) field_mut: fn(&mut Settings) -> &mut dyn Value,
}

/// What the value of a key looks like. `Display` describes it in a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueKind {
    /// Ports and inclusive ranges between commas.
    Ports,
    /// Networks between commas or blanks; may be empty.
    Networks,
    /// A path, relative ones to the directory the program was started in.
    /// Empty is unset.
    Path,
    /// `0` or `1`.
    Switch,
    /// `0`, `1` or `2`: see [`BlockMode`](super::BlockMode).
    BlockMode,
    /// A command for `/bin/sh -c`, a [`Template`](super::Template). Empty is
    /// unset.
    Command {
        /// Whether `$TARGET$` must stand in it.
        needs_target: bool,
    },
    /// A line of `hosts.deny`, a [`Template`](super::Template) that holds
    /// `$TARGET$`. Empty is unset.
    HostsDenyLine,
    /// Any text.
    Text,
    /// The name or number of a user.
    User,
    /// A decimal number from `min` to `max`.
    Number {
        /// The smallest.
        min: u32,
        /// The largest.
        max: u32,
        /// What it counts; empty if it is a mere count.
        unit: &'static str,
    },
}

/// What holds while a key is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultValue {
    /// The same as this value.
    Value(&'static str),
    /// Nothing is set, which means this.
    Unset(&'static str),
}

impl Key {
    /// The key of this exact name.
    pub fn find(name: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// The value that `settings` holds for this key, as a file would write it
    /// between quotes; `None` if it is unset.
    pub fn value(&self, settings: &Settings) -> Option<String> {
        (self.field)(settings).write()
    }

    /// Sets the field to the default.
    pub(super) fn reset(&self, settings: &mut Settings) {
        let field = (self.field_mut)(settings);
        field.clear();
        if let DefaultValue::Value(text) = self.default {
            field.read(Line::of_text(text).fragment(), self.kind, &mut Report::default());
        }
    }

    /// Sets the field to what `value` says, or reports why it does not.
    pub(super) fn read(&self, settings: &mut Settings, value: Fragment<'_>, report: &mut Report) {
        self.reset(settings);
        let errors = report.errors();
        for (c, place) in value.chars_that(|c| self.kind.forbids(c)) {
            report.error(place, Problem::ControlCharacter(c));
        }
        if report.errors() > errors {
            return;
        }
        if value.trim().is_empty() {
            match self.kind {
                ValueKind::Path | ValueKind::Command { .. } | ValueKind::HostsDenyLine => return,
                ValueKind::Networks => {}
                _ => return report.error(value, Problem::EmptyValue),
            }
        }
        (self.field_mut)(settings).read(value, self.kind, report);
    }
}

impl ValueKind {
    /// Control characters do harm in names, commands and lines of other files.
    /// A banner may hold what a terminal understands; NUL would end it.
    fn forbids(self, c: char) -> bool {
        match self {
            Self::Text => c == '\0',
            _ => c.is_control() && c != '\t',
        }
    }
}

impl fmt::Display for ValueKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ports => "ports, such as 1,7,10-20",
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
        })
    }
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => f.write_str(value),
            Self::Unset(meaning) => write!(f, "unset: {meaning}"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("default", &self.default)
            .finish_non_exhaustive()
    }
}
