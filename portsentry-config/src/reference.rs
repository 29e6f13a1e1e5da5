//! Documents about the keys: manual page, reference and sample configuration.
//!
//! All of them are written from the table of keys that the parser reads. The same
//! version gives the same bytes on every machine: nothing here reads the time or the
//! environment.

mod key_reference;
mod manual;
mod page;
mod sample;

pub use page::{Page, Term};

/// Returns the source of the manual page portsentry.conf(5).
pub fn manual() -> String {
    manual::page()
}

/// Returns the reference of all keys in Markdown.
pub fn reference() -> String {
    key_reference::text()
}

/// Returns a configuration file with every key and its description. It logs and does not
/// respond.
pub fn sample() -> String {
    sample::file()
}
