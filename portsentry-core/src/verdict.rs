//! The engine's decision about an attempt, and its reason.

use core::fmt;

/// The engine's decision about one observation, and its reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Verdict {
    /// The consequence for the observation.
    pub decision: Decision,
    /// The rule that ended the decision.
    pub reason: Reason,
}

impl Verdict {
    /// Creates a verdict, for tests and for other engines.
    #[must_use]
    #[inline]
    pub const fn new(decision: Decision, reason: Reason) -> Self {
        Self { decision, reason }
    }
}

/// The consequence for an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Decision {
    /// The observation is not a probe of a monitored port. It has no event.
    Drop,
    /// An event was queued, without a response.
    Report,
    /// A response was requested. The event follows its outcome.
    Respond,
    /// A response to the host is in progress. The event follows its outcome.
    Wait,
}

/// The rule that ended the decision about an observation.
///
/// The order of the variants is the order in which the rules are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Reason {
    /// TCP with ACK or RST: a reply or part of an old connection, not a probe.
    NotOpener,
    /// The port is not monitored.
    NotMonitored,
    /// A local program serves the port.
    Served,
    /// The source is in the ignore list.
    IgnoreList,
    /// The source has not reached the trigger.
    BelowTrigger,
    /// Source and target are the same address.
    SameAddress,
    /// The source is a reserved address, which no host has
    /// ([`is_reserved_source`](crate::is_reserved_source)).
    ReservedSource,
    /// Blocking is off for the protocol.
    LogOnly,
    /// The source is in a network that never gets a response.
    NeverBlock,
    /// The caller advised not to respond
    /// ([`Advice::Spare`](crate::Advice::Spare)).
    Advised,
    /// The source is already blocked.
    AlreadyBlocked,
    /// A response to the source is in progress.
    Responding,
    /// The last response to the source failed, and it is too early to retry.
    RetryLater,
    /// A check before the last response found that the host must be spared, and it is too
    /// early to check again ([`Engine::prevent`](crate::Engine::prevent)).
    Prevented,
    /// The limit of responses per minute is reached.
    RateLimited,
    /// The limit of responses in progress, or of waiting probes, is reached.
    Overloaded,
    /// The response starts now.
    Triggered,
    /// The response succeeded.
    Blocked,
    /// The response failed.
    ResponseFailed,
}

/// The four flags at the end of the classic line; `None` is `unset`.
///
/// [`Reason::flags`] returns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Flags {
    /// The source is in the ignore list.
    pub ignored: Option<bool>,
    /// The source reached the trigger.
    pub triggered: Option<bool>,
    /// The policy or a limit prevents a response.
    pub noblock: Option<bool>,
    /// The source is blocked.
    pub blocked: Option<bool>,
}

impl Reason {
    /// All reasons, in order.
    pub const ALL: &'static [Self] = &[
        Self::NotOpener,
        Self::NotMonitored,
        Self::Served,
        Self::IgnoreList,
        Self::BelowTrigger,
        Self::SameAddress,
        Self::ReservedSource,
        Self::LogOnly,
        Self::NeverBlock,
        Self::Advised,
        Self::AlreadyBlocked,
        Self::Responding,
        Self::RetryLater,
        Self::Prevented,
        Self::RateLimited,
        Self::Overloaded,
        Self::Triggered,
        Self::Blocked,
        Self::ResponseFailed,
    ];

    /// Returns whether the event of a probe can have this reason: the probe is neither
    /// dropped nor waiting for an outcome.
    pub const fn is_final(self) -> bool {
        !matches!(
            self,
            Self::NotOpener
                | Self::NotMonitored
                | Self::Served
                | Self::Responding
                | Self::Triggered
        )
    }

    /// Returns the flags of the classic line for an event with this reason.
    pub const fn flags(self) -> Flags {
        const fn flags(
            ignored: Option<bool>,
            triggered: Option<bool>,
            noblock: Option<bool>,
            blocked: Option<bool>,
        ) -> Flags {
            Flags { ignored, triggered, noblock, blocked }
        }
        const YES: Option<bool> = Some(true);
        const NO: Option<bool> = Some(false);
        match self {
            Self::NotOpener | Self::NotMonitored | Self::Served => flags(None, None, None, None),
            Self::IgnoreList => flags(YES, None, None, None),
            Self::BelowTrigger => flags(NO, NO, None, None),
            Self::SameAddress => flags(YES, YES, YES, NO),
            Self::ReservedSource
            | Self::LogOnly
            | Self::NeverBlock
            | Self::Advised
            | Self::Prevented
            | Self::RateLimited
            | Self::Overloaded => flags(NO, YES, YES, NO),
            Self::AlreadyBlocked | Self::Blocked => flags(NO, YES, NO, YES),
            Self::Responding | Self::RetryLater | Self::Triggered | Self::ResponseFailed => {
                flags(NO, YES, NO, NO)
            }
        }
    }
}

impl Reason {
    /// Returns the name, such as `below_trigger`, which `Display` and the feature `serde`
    /// write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotOpener => "not_opener",
            Self::NotMonitored => "not_monitored",
            Self::Served => "served",
            Self::IgnoreList => "ignore_list",
            Self::BelowTrigger => "below_trigger",
            Self::SameAddress => "same_address",
            Self::ReservedSource => "reserved_source",
            Self::LogOnly => "log_only",
            Self::NeverBlock => "never_block",
            Self::Advised => "advised",
            Self::AlreadyBlocked => "already_blocked",
            Self::Responding => "responding",
            Self::RetryLater => "retry_later",
            Self::Prevented => "prevented",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Triggered => "triggered",
            Self::Blocked => "blocked",
            Self::ResponseFailed => "response_failed",
        }
    }
}

impl Decision {
    /// Returns the name, such as `report`, which `Display` and the feature `serde` write.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Report => "report",
            Self::Respond => "respond",
            Self::Wait => "wait",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
