//! The lines that set keys, for checks across keys.

use alloc::vec::Vec;

use super::Span;

/// A line that sets a key, or tries to.
pub(super) struct Assignment {
    pub(super) name: &'static str,
    pub(super) line: usize,
    /// Place of the value, or of the key if the value could not be delimited.
    pub(super) value: Span,
    /// Whether the line has no error.
    pub(super) is_valid: bool,
}

/// The last line that sets each key.
#[derive(Default)]
pub(super) struct Assignments(Vec<Assignment>);

impl Assignments {
    pub(super) fn find(&self, name: &str) -> Option<&Assignment> {
        self.0.iter().find(|assignment| assignment.name == name)
    }

    /// Adds a line, which replaces an earlier one of the same key.
    pub(super) fn put(&mut self, assignment: Assignment) {
        self.0.retain(|earlier| earlier.name != assignment.name);
        self.0.push(assignment);
    }

    /// Returns whether the line that sets `name` has an error. A second error about the
    /// missing value would only confuse.
    pub(super) fn is_invalid(&self, name: &str) -> bool {
        self.find(name).is_some_and(|assignment| !assignment.is_valid)
    }

    pub(super) fn spans(&self) -> impl Iterator<Item = (&'static str, Span)> {
        self.0.iter().map(|assignment| (assignment.name, assignment.value))
    }
}
