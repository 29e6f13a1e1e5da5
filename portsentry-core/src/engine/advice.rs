//! Advice of the caller about a source.

/// Advice of the caller about the source of an observation, for
/// [`Engine::observe_advised`](crate::Engine::observe_advised).
///
/// Advice replaces one rule. The other rules still apply: limits apply to an advised
/// response, and a packet to a port that is not monitored is not a probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Advice {
    /// Follow the policy.
    #[default]
    None,
    /// Decide as if the source were on the ignore list
    /// ([`Reason::IgnoreList`](crate::Reason::IgnoreList)).
    Ignore,
    /// Decide as if the source had reached the trigger.
    Trigger,
    /// Report the probe and do not respond
    /// ([`Reason::Advised`](crate::Reason::Advised)).
    Spare,
}
