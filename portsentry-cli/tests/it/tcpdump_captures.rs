//! The captures from the tests of tcpdump: every protocol, many link types, and packets that
//! were made to crash a decoder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portsentry_testbed::Background;
use tempfile::TempDir;

use crate::station::{Ended, PROGRAM};

/// Returns the captures in order, or `None` if they cannot be fetched here.
fn captures() -> Option<Vec<PathBuf>> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let fetched = Command::new("scripts/tcpdump-captures").current_dir(&project).output();
    let output = fetched.expect("sh");
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        let required =
            std::env::var_os("PORTSENTRY_REQUIRE_PRIVILEGED").is_some_and(|it| it == "1");
        assert!(!required, "the captures of tcpdump cannot be fetched: {why}");
        println!("skipped: the captures of tcpdump cannot be fetched: {why}");
        return None;
    }
    let entries = fs::read_dir(project.join("target/tcpdump-captures")).expect("folder");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.sort();
    assert!(files.len() > 500, "only {} captures", files.len());
    Some(files)
}

/// Returns the number of packets that tcpdump finds, or `None` if it cannot read the file to
/// its end.
fn packets(file: &Path) -> Option<u64> {
    let output = Command::new("tcpdump").args(["--count", "-r"]).arg(file).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = text.split(' ').next()?.parse().ok()?;
    output.status.success().then_some(count)
}

#[test]
fn every_capture_of_the_tcpdump_tests_is_replayed_or_refused() {
    let Some(files) = captures() else { return };
    let folder = TempDir::new().expect("folder");
    let configuration = folder.path().join("portsentry.conf");
    fs::write(&configuration, "TCP_PORTS = \"1-65535\"\nUDP_PORTS = \"1-65535\"\n").expect("write");
    let (mut whole, mut compared) = (0, 0);
    for file in &files {
        let mut command = Command::new(PROGRAM);
        command.arg("replay").arg("-c").arg(&configuration).arg(file);
        let mut process = Background::spawn(command);
        process.wait(Duration::from_secs(60));
        let ended = Ended::of(&mut process);
        let name = file.file_name().expect("name").to_string_lossy().into_owned();
        assert!(!ended.stderr.iter().any(|line| line.contains("panicked")), "{name}: {ended:#?}");
        let seen = ended.stderr.iter().find_map(|line| line.split_once(" packets seen, "));
        match ended.status.code() {
            Some(0) => {
                whole += 1;
                let (seen, _) = seen.unwrap_or_else(|| panic!("{name}: {ended:#?}"));
                let seen: u64 = seen.parse().expect("a number");
                if let Some(theirs) = packets(file) {
                    compared += 1;
                    assert_eq!(seen, theirs, "{name}");
                }
            }
            // An unsupported link type, or a file that is cut or damaged.
            Some(1) => {
                let names_the_file = |line: &String| line.contains(&name);
                assert!(ended.stderr.iter().any(names_the_file), "{name}: {ended:#?}");
            }
            status => panic!("{name}: {status:?} {ended:#?}"),
        }
    }
    println!("{} captures: {whole} read to the end, {compared} compared", files.len());
    assert!(whole > files.len() / 2 && compared > whole / 2, "{whole} whole, {compared} compared");
}
