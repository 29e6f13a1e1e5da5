//! Waiting for a condition that nothing reports, such as the content of a file.

use std::thread;
use std::time::{Duration, Instant};

/// Maximum time for an action that takes milliseconds on an idle machine.
pub const SOON: Duration = Duration::from_secs(20);

/// Time between two checks of a condition.
const INTERVAL: Duration = Duration::from_millis(2);

/// Checks `condition` until it holds, for at most [`SOON`]. Returns whether it holds.
pub fn holds_soon(mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + SOON;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(INTERVAL);
    }
}

/// Waits until `condition` holds.
///
/// # Panics
///
/// If it does not hold within [`SOON`]; the message names `what`.
#[track_caller]
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_soon(condition), "not within {SOON:?}: {what}");
}
