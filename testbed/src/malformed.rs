//! Malformed configurations and ignore lists, with the one error of each.

mod cross_checks;
mod grammar;
mod ignore_lists;
mod values;

/// A malformed file: what is wrong with it, its text, `line:column` of the only
/// error, and a part of the message.
pub type Malformed = (&'static str, &'static [u8], &'static str, &'static str);

/// Malformed configurations. `TCP_PORTS` is set where that is not the point, so
/// that the error of the row is the only one.
pub fn malformed_configurations() -> impl Iterator<Item = &'static Malformed> {
    grammar::GRAMMAR.iter().chain(values::VALUES).chain(cross_checks::CROSS_CHECKS)
}

/// Malformed ignore lists.
pub fn malformed_ignore_lists() -> impl Iterator<Item = &'static Malformed> {
    ignore_lists::IGNORE_LISTS.iter()
}
