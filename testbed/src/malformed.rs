//! Malformed configurations and ignore lists, each with exactly one error.

mod cross_checks;
mod grammar;
mod ignore_lists;
mod values;

/// A malformed file: name of the mistake, text of the file, `line:column` of its only
/// error, and a part of the message.
pub type Malformed = (&'static str, &'static [u8], &'static str, &'static str);

/// Returns malformed configurations. `TCP_PORTS` is set unless the row is about the
/// ports, so that each file has exactly one error.
pub fn malformed_configurations() -> impl Iterator<Item = &'static Malformed> {
    grammar::GRAMMAR.iter().chain(values::VALUES).chain(cross_checks::CROSS_CHECKS)
}

/// Returns malformed ignore lists.
pub fn malformed_ignore_lists() -> impl Iterator<Item = &'static Malformed> {
    ignore_lists::IGNORE_LISTS.iter()
}
