//! The end of a request for a response.

use portsentry_core::{Instant, Outcome};

/// The answer of the responder to a request for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The response has ended, or was not started for a reason that a report gives.
    Ended(Outcome),
    /// The response was not started, because of `BLOCK_RATE`.
    Refused {
        /// Responses a minute.
        limit: u32,
        /// The time of the monotonic clock before which there is no reason to ask again.
        until: Instant,
    },
}
