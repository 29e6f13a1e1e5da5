//! One key of the configuration: its row in the table, and its field in [`Settings`].

use alloc::string::String;
use core::fmt;

use super::diagnostic::Report;
use super::span::{Fragment, Line};
use super::value::Value;
use super::{Problem, Section, Settings, ValueKind};

/// A row of [`KEYS`](super::KEYS).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Key {
    /// Name in the file.
    pub name: &'static str,
    /// Section of the reference.
    pub section: Section,
    /// Form of the value.
    pub kind: ValueKind,
    /// Value while the file does not set the key.
    pub default: DefaultValue,
    /// When a change of the value takes effect in a running program.
    pub reload: Reload,
    /// Description in one line, without a full stop.
    pub summary: &'static str,
    /// Further description, in sentences; may be empty.
    pub help: &'static str,
    pub(super) field: fn(&Settings) -> &dyn Value,
    pub(super) field_mut: fn(&mut Settings) -> &mut dyn Value,
}

/// The value of a key that is not set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultValue {
    /// The same as this value.
    Value(&'static str),
    /// No value.
    #[non_exhaustive]
    Unset {
        /// Behaviour without a value.
        meaning: &'static str,
        /// A value to show to the reader.
        example: &'static str,
    },
}

/// When a change of a key takes effect in a running program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reload {
    /// With the reload.
    Live,
    /// The reload succeeds; the program uses the new value when it is started again.
    NextStart,
    /// The program refuses a reload with a changed value.
    Restart,
}

impl Reload {
    /// Returns a sentence for the reference; `None` for [`Live`](Self::Live), the normal
    /// case.
    pub const fn note(self) -> Option<&'static str> {
        match self {
            Self::Live => None,
            Self::NextStart => Some("A change takes effect at the next start."),
            Self::Restart => {
                Some("A change needs a restart: a reload with another value is refused.")
            }
        }
    }
}

impl Key {
    /// Returns the value of this key in `settings`, as a file contains it between the quotes;
    /// `None` if it is unset.
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

    /// Sets the field to `value`, or reports why that is not possible.
    pub(super) fn read(&self, settings: &mut Settings, value: Fragment<'_>, report: &mut Report) {
        self.reset(settings);
        let errors = report.errors();
        for (c, fragment) in value.chars_that(|c| self.kind.forbids(c)) {
            report.error(fragment, Problem::ControlCharacter(c));
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

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value(value) => f.write_str(value),
            Self::Unset { meaning, .. } => write!(f, "unset: {meaning}"),
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
