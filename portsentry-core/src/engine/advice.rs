//! Decisions of the caller about a source.

/// What the caller knows about the source of an observation, given to
/// [`Engine::observe_advised`](crate::Engine::observe_advised).
///
/// Advice takes the place of one rule and leaves the other rules in force: a
/// response that is advised is still limited, and a port that is not monitored
/// is still no probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Advice {
    /// Nothing: the policy alone decides.
    #[default]
    None,
    /// Decide as if the source were on the ignore list
    /// ([`Reason::IgnoreList`](crate::Reason::IgnoreList)).
    Ignore,
    /// Decide as if the source had reached the trigger, however often it
    /// probed.
    Trigger,
    /// Report the probe and do not respond
    /// ([`Reason::Advised`](crate::Reason::Advised)).
    Spare,
}
