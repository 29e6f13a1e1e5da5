//! The values that the engine and a responder exchange.

use crate::Observation;

/// An action that the engine requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Effect {
    /// Respond to a host. The caller performs its configured actions and reports the
    /// result with
    /// [`Engine::handle_outcome`](crate::Engine::handle_outcome).
    Respond(Response),
}

/// A requested response to a host.
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
    /// Creates a response, for tests of a responder.
    #[must_use]
    pub const fn new(id: ResponseId, probe: Observation) -> Self {
        Self { id, probe }
    }
}

/// Identifies a response from the effect to its outcome.
///
/// The number is opaque. Engines that share one responder use different numbers, see
/// [`Engine::with_response_ids`](crate::Engine::with_response_ids).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
pub struct ResponseId(u64);

impl ResponseId {
    /// Creates the identity with this number, for a message from a responder in another
    /// process.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number, for a message to a responder in another process.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// The probes without a response while it is prevented, see
/// [`Engine::prevent`](crate::Engine::prevent).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum PreventionScope {
    /// Probes of the host to the port of the prevented response.
    Port,
    /// All probes of the host.
    Host,
    /// All probes of all hosts.
    AllHosts,
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
    /// All actions succeeded. The host counts as blocked.
    Succeeded,
    /// At least one action succeeded, and at least one failed. The host counts as blocked. With
    /// [`Policy::remember_blocked`](crate::Policy::remember_blocked), the engine requests
    /// another response to the host when it sends another probe, after a growing delay. The
    /// caller then performs only the actions that are missing.
    Partial,
    /// No action succeeded. The engine may request another response later.
    Failed,
}
