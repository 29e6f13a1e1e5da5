//! The table of keys, in sections.
//!
//! A new key is a row in the file of its section and a field of [`Settings`]; the
//! compiler checks that each field has one row. The order of the sections, and of the
//! rows in a section, is that of the reference and of written configurations.

// Each file defines a macro of its name. It passes its rows to the macro that is
// named first in its arguments, behind the other arguments: see the end of this file.
#[macro_use]
mod capture;
#[macro_use]
mod detect;
#[macro_use]
mod process;
#[macro_use]
mod report;
#[macro_use]
mod respond;
#[macro_use]
mod watch;

use core::time;

use super::DefaultValue::{Unset, Value};
use super::Reload::{Live, NextStart, Restart};
use super::ValueKind::{
    BlockMode, Command, Duration, HostsDenyLine, Networks, Number, Path, Ports, Switch, Text, User,
};
use super::{Key, Section, Settings};

/// Defines [`KEYS`], and [`Settings::blank`] from the same rows: a field without a row,
/// or with two, does not compile.
macro_rules! table {
    ($($section:ident { $($field:ident: {
        name: $name:literal,
        kind: $kind:expr,
        default: $default:expr,
        reload: $reload:expr,
        summary: $summary:literal,
        help: $help:literal,
    })+ })+) => {
        /// Every key that a configuration can set, by sections.
        pub static KEYS: &[Key] = &[$($(Key {
            name: $name,
            section: Section::$section,
            kind: $kind,
            default: $default,
            reload: $reload,
            summary: $summary,
            help: $help,
            field: |settings| &settings.$field,
            field_mut: |settings| &mut settings.$field,
        }),+),+];

        impl Settings {
            /// Settings with all fields empty, without the defaults of the table.
            pub(super) fn blank() -> Self {
                Self { $($($field: Default::default()),+),+ }
            }
        }
    };
}

watch! { detect respond report capture process table }

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;
    use std::format;
    use std::vec::Vec;

    #[test]
    fn defaults_and_examples_are_valid_values() {
        let defaults = Settings::default();
        for key in KEYS {
            let ports = if key.name == "TCP_PORTS" { "UDP_PORTS" } else { "TCP_PORTS" };
            let read = |text: &str| {
                let file = format!("{ports} = \"1\"\n{} = \"{text}\"\n", key.name);
                let parsed = parse(file.as_bytes());
                assert_eq!(parsed.diagnostics, [], "{key:?}");
                parsed.value
            };
            match key.default {
                Value(text) => {
                    // A duration is written in seconds, for any unit in the table.
                    assert_eq!(key.value(&defaults), key.value(&read(text)), "{key:?}");
                    assert!(key.value(&defaults).is_some_and(|it| !it.is_empty()), "{key:?}");
                }
                Unset { example, .. } => {
                    assert!(key.value(&defaults).is_none_or(|text| text.is_empty()), "{key:?}");
                    assert!(key.value(&read(example)).is_some(), "{key:?}");
                }
            }
        }
    }

    #[test]
    fn rows_can_be_printed() {
        for (index, key) in KEYS.iter().enumerate() {
            assert!(key.name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{key:?}");
            assert!(!key.summary.is_empty() && !key.summary.ends_with('.'), "{key:?}");
            assert!(key.help.is_empty() || key.help.ends_with('.'), "{key:?}");
            assert!(KEYS.iter().skip(index + 1).all(|other| other.name != key.name), "{key:?}");
            let when = ["takes effect", "needs a restart"];
            assert!(
                !when.iter().any(|when| key.help.contains(when)),
                "belongs in `reload`: {key:?}"
            );
        }
    }

    #[test]
    fn sections_are_in_the_order_of_the_table() {
        let mut sections: Vec<Section> = KEYS.iter().map(|key| key.section).collect();
        sections.dedup();
        assert_eq!(sections, Section::ALL);
        for section in Section::ALL {
            assert!(section.keys().all(|key| key.section == *section));
        }
        let total: usize = Section::ALL.iter().map(|section| section.keys().count()).sum();
        assert_eq!(total, KEYS.len());
    }

    #[test]
    fn keys_that_a_reload_does_not_apply() {
        let names = |reload| -> Vec<&str> {
            KEYS.iter().filter(|key| key.reload == reload).map(|key| key.name).collect()
        };
        let capture = ["CAPTURE_BUFFER", "CAPTURE_LATENCY", "CAPTURE_RINGS"];
        assert_eq!(names(NextStart), capture);
        assert_eq!(names(Restart), ["RUN_AS", "SANDBOX"]);
    }
}
