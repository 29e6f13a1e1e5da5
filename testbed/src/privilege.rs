//! Decides whether privileged tests can run, and whether a skipped test is a failure.

use std::fs::OpenOptions;
use std::io::Write;
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
    let required = std::env::var_os("PORTSENTRY_REQUIRE_PRIVILEGED").is_some_and(|it| it == "1");
    assert!(!required, "{}: {reason}, and PORTSENTRY_REQUIRE_PRIVILEGED=1", caller.file());
    println!("skipped: {}:{} {reason}", caller.file(), caller.line());
    None
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
