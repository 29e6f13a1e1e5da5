//! The configuration and ignore parsers through their public API: values of well-formed
//! files, findings at several places of one file, and random bytes. The tests of
//! `portsentry-config` contain a table of malformed files, because they check the
//! rendering too.

mod defaults;
mod findings;
mod ignore_list;
mod properties;
mod reading;

use portsentry_core::config::{self, Diagnostic, Settings};

fn findings(diagnostics: &[Diagnostic]) -> Vec<String> {
    diagnostics.iter().map(ToString::to_string).collect()
}

/// Parses a file that must give no finding.
fn clean(file: &str) -> Settings {
    let parsed = config::parse(file.as_bytes());
    assert_eq!(findings(&parsed.diagnostics), [""; 0], "{file}");
    parsed.value
}
