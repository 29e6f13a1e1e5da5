//! The answer to a request for a response.

use portsentry_core::{Instant, Outcome, PreventionScope};

/// Answer of the responder to a request for a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// The response has ended, or was refused for a reason that a report contains.
    Ended(Outcome),
    /// The response was refused because of `BLOCK_RATE`.
    Refused {
        /// Responses per minute.
        limit: u32,
        /// Time of the monotonic clock before which another request is refused as well.
        until: Instant,
    },
    /// The response was prevented, to protect this host and its users. A report contains the
    /// reason.
    Prevented {
        /// Probes that are prevented too.
        scope: PreventionScope,
        /// Time of the monotonic clock before which another request in this scope is prevented
        /// as well.
        until: Instant,
    },
}
