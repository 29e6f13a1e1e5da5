//! Decides which tests can run, and whether a skipped test is a failure.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::thread;

/// Proof that the process runs as root, from [`require_root`].
#[derive(Clone, Copy, Debug)]
pub struct Root(());

/// Returns the proof, or prints that the test is skipped, with the reason.
///
/// If the variable `PORTSENTRY_PRIVILEGED_LOG` names a file, each proof appends a line
/// with the name of the test, so that the tests that really ran can be counted.
///
/// # Panics
///
/// Panics without root if `PORTSENTRY_REQUIRE_PRIVILEGED=1` is set: where every test must
/// run, a skipped test is a failure.
#[track_caller]
pub fn require_root() -> Option<Root> {
    if rustix::process::geteuid().is_root() {
        log_test();
        return Some(Root(()));
    }
    let caller = std::panic::Location::caller();
    let reason = "needs root to make network namespaces";
    assert!(
        !every_test_must_run(),
        "{}: {reason}, and PORTSENTRY_REQUIRE_PRIVILEGED=1",
        caller.file()
    );
    println!("skipped: {}:{} {reason}", caller.file(), caller.line());
    None
}

/// Returns whether a service is installed that not every machine has; prints that the test is
/// skipped if not.
///
/// # Panics
///
/// Panics if the service is missing and every test must run.
#[track_caller]
pub fn has_service(program: &str) -> bool {
    let folders = ["/usr/sbin", "/usr/bin"];
    if folders.iter().any(|folder| Path::new(folder).join(program).exists()) {
        return true;
    }
    assert!(
        !every_test_must_run(),
        "{program} is not installed, and PORTSENTRY_REQUIRE_PRIVILEGED=1"
    );
    println!("skipped: {program} is not installed");
    false
}

fn every_test_must_run() -> bool {
    std::env::var_os("PORTSENTRY_REQUIRE_PRIVILEGED").is_some_and(|it| it == "1")
}

/// Appends the name of the test, which is the name that the harness gives the thread.
fn log_test() {
    let Some(path) = std::env::var_os("PORTSENTRY_PRIVILEGED_LOG") else { return };
    let line = format!("{}\n", thread::current().name().unwrap_or("unnamed"));
    // A single write keeps the lines of parallel tests whole.
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut log| log.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
