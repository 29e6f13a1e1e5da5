//! Which keys a file sets, and where: what the checks of keys against keys need
//! beside the values.

use alloc::vec::Vec;

use super::Span;

/// A line that sets a key, or tries to.
pub(super) struct Assignment {
    pub(super) name: &'static str,
    pub(super) line: usize,
    /// The value, or the key where the value could not be made out.
    pub(super) value: Span,
    /// Whether the line was without an error.
    pub(super) is_usable: bool,
}

/// For each key that is set, the line that counts.
#[derive(Default)]
pub(super) struct Assignments(Vec<Assignment>);

impl Assignments {
    pub(super) fn find(&self, name: &str) -> Option<&Assignment> {
        self.0.iter().find(|assignment| assignment.name == name)
    }

    /// Adds a line; an earlier one of the same key counts no more.
    pub(super) fn put(&mut self, assignment: Assignment) {
        self.0.retain(|earlier| earlier.name != assignment.name);
        self.0.push(assignment);
    }

    /// Whether the file tries to set `name` and fails: then what is missing is
    /// there in intent, and a second error about it would only confuse.
    pub(super) fn is_invalid(&self, name: &str) -> bool {
        self.find(name).is_some_and(|assignment| !assignment.is_usable)
    }

    pub(super) fn places(&self) -> impl Iterator<Item = (&'static str, Span)> {
        self.0.iter().map(|assignment| (assignment.name, assignment.value))
    }
}
