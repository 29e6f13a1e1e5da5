//! The values that the engine and a responder exchange.

use crate::Observation;

/// Something the engine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Effect {
    /// Respond to a host. The caller carries out its configured actions and
    /// reports the result with
    /// [`Engine::handle_outcome`](crate::Engine::handle_outcome).
    Respond(Response),
}

/// A response to be given to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Response {
    /// Identifies this response in its outcome.
    pub id: ResponseId,
    /// The probe that caused the response; its source is the host.
    pub probe: Observation,
}

impl Response {
    /// A response, for tests of a responder.
    #[must_use]
    pub const fn new(id: ResponseId, probe: Observation) -> Self {
        Self { id, probe }
    }
}

/// Identifies a response from the effect to its outcome.
///
/// The number is opaque. Engines that share one responder draw numbers that do
/// not clash, see [`Engine::with_response_ids`](crate::Engine::with_response_ids).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct ResponseId(u64);

impl ResponseId {
    /// The identity with this number, for a message that comes back from a
    /// responder in another process.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number, for a message to a responder in another process.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Outcome {
    /// At least one action worked: the host counts as blocked.
    Succeeded,
    /// No action worked: the engine may ask for another response later.
    Failed,
}
