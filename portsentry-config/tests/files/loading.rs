//! Which files are read, how relative paths are resolved, and errors of reading.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixListener;
use std::path::Path;

use portsentry_config::{
    Cause, FileError, LoadError, MAX_FILE_SIZE, Origin, Overrides, Source, Style, load,
};
use portsentry_core::config::Settings;

use crate::Place;

fn contains(networks: &portsentry_core::NetworkSet, address: &str) -> bool {
    networks.contains(address.parse().unwrap())
}

#[test]
fn a_configuration_and_its_ignore_list() {
    let place = Place::new();
    let path = place.file(
        "portsentry.conf",
        "TCP_PORTS=\"1-10\"\nIGNORE_FILE=\"ignore\"\nHISTORY_FILE=\"log/history\"\nBLOCKED_FILE=\"/run/b\"\n",
    );
    place.file("ignore", "192.0.2.0/24\n");
    let configuration = place.load("portsentry.conf").unwrap();
    assert_eq!(configuration.origin, Origin::File(path));
    assert!(configuration.warnings.is_empty());
    assert!(contains(&configuration.ignore, "192.0.2.77"));
    assert!(configuration.local_check && configuration.service_check);

    // Relative paths are relative to the working directory, not to the file.
    let settings = &configuration.settings;
    let below = |name: &str| Some(place.path().join(name).to_str().unwrap().to_owned());
    assert_eq!(settings.ignore_file, below("ignore"));
    assert_eq!(settings.history_file, below("log/history"));
    assert_eq!(settings.blocked_file.as_deref(), Some("/run/b"));
    assert_eq!(settings.hosts_deny_file, "/etc/hosts.deny");
}

#[test]
fn the_command_line_overrides_the_file() {
    let place = Place::new();
    place.file("c", "TCP_PORTS=\"1\"\n");
    let overrides = Overrides::default().with_local_check(false);
    let configuration = load(&Source::file("c"), overrides, place.path()).unwrap();
    assert!(!configuration.local_check && configuration.service_check);
}

#[test]
fn without_a_file_the_built_in_settings_apply() {
    let place = Place::new();
    let source = Source::file_or_built_in("none/portsentry.conf");
    let configuration = load(&source, Overrides::default(), place.path()).unwrap();
    assert_eq!(configuration.settings, Settings::built_in());
    assert!(configuration.ignore.is_empty());
    let missing = place.path().join("none/portsentry.conf");
    match &configuration.origin {
        Origin::BuiltIn { missing: path, .. } => assert_eq!(*path, missing),
        other => panic!("{other:?}"),
    }

    // A file that exists and is invalid is an error.
    place.file("wrong", "TCP_PORTS=\"x\"\n");
    let source = Source::file_or_built_in("wrong");
    let error = load(&source, Overrides::default(), place.path()).unwrap_err();
    assert!(matches!(error, LoadError::Invalid(_)), "{error}");
    assert_eq!(Source::default(), Source::file_or_built_in("/etc/portsentry/portsentry.conf"));
}

#[test]
fn files_that_cannot_be_read() {
    let place = Place::new();
    fs::create_dir(place.path().join("directory")).unwrap();
    let _socket = UnixListener::bind(place.path().join("socket")).unwrap();
    let large = fs::File::create(place.path().join("large")).unwrap();
    large.set_len(MAX_FILE_SIZE + 1).unwrap();
    place.file("file", "");

    let check = |name: &str, expected: &str| {
        let path = place.path().join(name);
        // As the configuration, also if the built-in one may replace a missing file.
        let source =
            if name == "missing" { Source::file(name) } else { Source::file_or_built_in(name) };
        let error = load(&source, Overrides::default(), place.path()).unwrap_err();
        let said = error.render(Style::Plain);
        assert_eq!(said.matches('\n').count(), 1, "{said}");
        assert!(
            said.starts_with(&format!("error: cannot read {}: {expected}", path.display())),
            "{said}"
        );

        // As the ignore list: at its place in the configuration, with other errors.
        place.file("c", format!("TCP_PORTS=\"1\"\nIGNORE_FILE = \"{name}\"\nRUN_AS=\"?\"\n"));
        let findings = place.refused("c");
        let causes: Vec<_> =
            findings.iter().map(|finding| (finding.span.line, &finding.cause)).collect();
        assert!(
            matches!(causes[..], [(2, Cause::File(error)), (3, Cause::Problem(_))] if error.path() == path),
            "{findings}"
        );
        assert!(
            findings
                .to_string()
                .contains(&format!("c:2:16: error: cannot read {}", path.display()))
        );
    };
    check("missing", "it does not exist");
    check("directory", "it is a directory");
    check("socket", "it is not a regular file");
    check("large", "it is larger than 64 MiB");
    check("file/below", "");
}

#[test]
fn a_file_of_the_largest_size_is_read() {
    let place = Place::new();
    let path = place.file("c", "TCP_PORTS=\"1\"\n#");
    fs::OpenOptions::new().append(true).open(path).unwrap().set_len(MAX_FILE_SIZE).unwrap();
    assert_eq!(place.load("c").unwrap().settings.tcp_ports.to_string(), "1");
}

#[test]
fn the_null_device_is_an_empty_list() {
    let place = Place::new();
    place.file("c", "TCP_PORTS=\"1\"\nIGNORE_FILE=\"/dev/null\"\n");
    assert!(place.load("c").unwrap().ignore.is_empty());
}

#[test]
fn errors_of_both_files_are_found_in_one_run() {
    let place = Place::new();
    place.file("c", "TCP_PORTS=\"0\"\nIGNORE_FILE=\"i\"\nBLOCK_TCP=\"9\"\nTCP_PORTS=\"1\"\n");
    place.file("i", "10.0.0.1/8\nnobody\n");
    let findings = place.refused("c");
    let found: Vec<_> = findings
        .iter()
        .map(|finding| {
            let file = finding.path.file_name().unwrap().to_str().unwrap();
            format!("{file}:{} {}", finding.span.line, finding.severity)
        })
        .collect();
    assert_eq!(found, ["c:1 error", "c:3 error", "c:4 warning", "i:1 warning", "i:2 error"]);
}

#[test]
fn warnings_come_with_the_configuration() {
    let place = Place::new();
    place.file("c", "TCP_PORTS=\"1\"\nTCP_PORTS=\"2\"\nIGNORE_FILE=\"i\"");
    place.file("i", "10.0.0.1/8");
    let configuration = place.load("c").unwrap();
    assert!(!configuration.warnings.has_errors());
    assert_eq!(configuration.warnings.iter().count(), 2);
    assert_eq!(configuration.settings.tcp_ports.to_string(), "2");
    assert!(contains(&configuration.ignore, "10.255.255.255"));
}

#[test]
fn a_working_directory_that_is_not_utf8() {
    let place = Place::new();
    let directory = place.path().join(OsStr::from_bytes(b"caf\xe9"));
    fs::create_dir(&directory).unwrap();
    let load = |text: &str| {
        fs::write(directory.join("c"), text).unwrap();
        load(&Source::file("c"), Overrides::default(), &directory)
    };
    // Only relative paths are refused.
    assert!(load("TCP_PORTS=\"1\"\nHISTORY_FILE=\"/h\"\n").is_ok());
    let Err(LoadError::Invalid(findings)) =
        load("TCP_PORTS=\"1\"\nHISTORY_FILE=\"h\"\nIGNORE_FILE=\"i\"\n")
    else {
        panic!("not refused");
    };
    let causes: Vec<_> =
        findings.iter().map(|finding| (finding.span.line, &finding.cause)).collect();
    assert!(
        matches!(causes[..], [(2, Cause::WorkingDirectory), (3, Cause::WorkingDirectory)]),
        "{findings}"
    );
}

#[test]
fn missing_files_have_their_own_error() {
    let error =
        load(&Source::file("/nonexistent/x"), Overrides::default(), Path::new("/")).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable(FileError::Missing(_))), "{error}");
}
