//! Whether privileged tests can run, and what happens when they cannot.

/// Proof that the process runs as root, from [`require_root`].
#[derive(Clone, Copy, Debug)]
pub struct Root(());

/// Gives the proof, or says on stdout that the test is skipped and why.
///
/// # Panics
///
/// Without root, when the environment says `PORTSENTRY_REQUIRE_PRIVILEGED=1`:
/// where every test is meant to run, a skipped one is a failure.
#[track_caller]
pub fn require_root() -> Option<Root> {
    if rustix::process::geteuid().is_root() {
        return Some(Root(()));
    }
    let caller = std::panic::Location::caller();
    let reason = "needs root to make network namespaces";
    let required = std::env::var_os("PORTSENTRY_REQUIRE_PRIVILEGED").is_some_and(|it| it == "1");
    assert!(!required, "{}: {reason}, and PORTSENTRY_REQUIRE_PRIVILEGED=1", caller.file());
    println!("skipped: {}:{} {reason}", caller.file(), caller.line());
    None
}
