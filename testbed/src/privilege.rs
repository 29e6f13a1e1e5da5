//! Whether privileged tests can run, and what happens when they cannot.

use std::fs::OpenOptions;
use std::io::Write;
use std::thread;

/// Proof that the process runs as root, from [`require_root`].
#[derive(Clone, Copy, Debug)]
pub struct Root(());

/// Gives the proof, or says on stdout that the test is skipped and why.
///
/// If the environment names a file as `PORTSENTRY_PRIVILEGED_LOG`, a line with
/// the test's name is appended to it for each proof, so that those that ran can
/// be counted.
///
/// # Panics
///
/// Without root, when the environment says `PORTSENTRY_REQUIRE_PRIVILEGED=1`:
/// where every test is meant to run, a skipped one is a failure.
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

/// The harness names each test's thread after the test.
fn log_test() {
    let Some(path) = std::env::var_os("PORTSENTRY_PRIVILEGED_LOG") else { return };
    let line = format!("{}\n", thread::current().name().unwrap_or("unnamed"));
    // One write, so that lines of tests that run side by side stay whole.
    OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .and_then(|mut log| log.write_all(line.as_bytes()))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}
