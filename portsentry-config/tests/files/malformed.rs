//! Every malformed file is refused with one error, at its place.

use portsentry_testbed::{malformed_configurations, malformed_ignore_lists};

use crate::{Place, assert_error_at};

#[test]
fn every_malformed_configuration_is_refused_at_its_place() {
    for (name, text, place, message) in malformed_configurations() {
        let directory = Place::new();
        directory.file("portsentry.conf", text);
        let findings = directory.refused("portsentry.conf");
        assert_error_at(name, &findings, "portsentry.conf", place, message);
        assert_eq!(findings.iter().count(), 1, "{name}: more than one finding:\n{findings}");
    }
}

#[test]
fn every_malformed_ignore_list_is_refused_at_its_place() {
    for (name, text, place, message) in malformed_ignore_lists() {
        let directory = Place::new();
        directory.file("portsentry.conf", "TCP_PORTS=\"1\"\nIGNORE_FILE=\"portsentry.ignore\"\n");
        directory.file("portsentry.ignore", text);
        let findings = directory.refused("portsentry.conf");
        assert_error_at(name, &findings, "portsentry.ignore", place, message);
        assert_eq!(findings.iter().count(), 1, "{name}: more than one finding:\n{findings}");
    }
}

#[test]
fn the_tables_are_large_and_have_no_repeated_row() {
    let rows: Vec<_> = malformed_configurations().collect();
    assert!(rows.len() >= 60);
    for (index, row) in rows.iter().enumerate() {
        assert!(rows[index + 1..].iter().all(|other| other.1 != row.1), "{} is repeated", row.0);
    }
}
