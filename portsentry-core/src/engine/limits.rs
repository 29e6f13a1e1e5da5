//! Limits of the engine's memory.

use core::time::Duration;

use crate::counter_table::MAX_SLOTS;

/// Limits of all tables and queues that the senders of packets can fill. The total of
/// `Default` is below 64 MiB.
///
/// Later versions add limits: start with `Default`, and change single limits with a method
/// or by assignment.
///
/// ```
/// use portsentry_core::Limits;
///
/// let limits = Limits::default().sources(1 << 16).blocked(10_000);
/// assert_eq!(limits.blocked, 10_000);
/// ```
///
/// All values are valid. A value above the available memory counts as the largest possible
/// limit, and 0 as the smallest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Limits {
    /// Maximum number of sources whose probes are counted, 16 bytes each, at most 2^26. Used
    /// only with a trigger above 1.
    pub sources: usize,
    /// Maximum number of pairs of source and served port whose lines are limited, 16 bytes
    /// each, at most 2^26.
    pub served_lines: usize,
    /// Maximum number of IPv4 hosts in the blocked set, at most 20 bytes each.
    pub blocked: usize,
    /// Maximum number of IPv6 hosts in the blocked set, at most 33 bytes each.
    pub blocked_v6: usize,
    /// Maximum number of responses in progress. 0: the engine never responds.
    pub responses: usize,
    /// Maximum time without an outcome of a response; `None` is unlimited. After that, the
    /// engine handles the response as failed and ignores its outcome.
    pub response_timeout: Option<Duration>,
    /// Maximum number of probes that wait for the outcome of a response, about 110 bytes
    /// each.
    pub waiting: usize,
    /// Maximum number of hosts whose last response failed, about 100 bytes each.
    pub failed: usize,
    /// Maximum number of events that wait for
    /// [`Engine::poll_event`](crate::Engine::poll_event), about 100 bytes each. Further events are lost and counted
    /// ([`Statistics::events_lost`](crate::Statistics::events_lost)).
    pub events: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sources: 3 << 19,
            served_lines: 1 << 12,
            blocked: 1 << 20,
            blocked_v6: 1 << 19,
            responses: 1 << 10,
            response_timeout: Some(Duration::from_secs(3600)),
            waiting: 1 << 14,
            failed: 1 << 12,
            events: 1 << 15,
        }
    }
}

macro_rules! setters {
    ($($field:ident: $type:ty,)*) => {
        impl Limits {
            $(
                #[doc = concat!("Sets [`", stringify!($field), "`](field@Self::", stringify!($field), ").")]
                #[must_use]
                pub const fn $field(mut self, $field: $type) -> Self {
                    self.$field = $field;
                    self
                }
            )*
        }
    };
}

setters! {
    sources: usize,
    served_lines: usize,
    blocked: usize,
    blocked_v6: usize,
    responses: usize,
    response_timeout: Option<Duration>,
    waiting: usize,
    failed: usize,
    events: usize,
}

impl Limits {
    /// Returns the limits of each of `engines` engines that share these limits and have
    /// different sources. Together they use as much memory as one engine, except that tables
    /// are rounded up by a few slots. Time limits do not change.
    #[must_use]
    pub fn divided_by(&self, engines: usize) -> Self {
        let share = |of: usize| of.checked_div(engines).unwrap_or(of).max(1);
        Self {
            sources: share(self.sources.min(MAX_SLOTS)),
            served_lines: share(self.served_lines.min(MAX_SLOTS)),
            blocked: share(self.blocked),
            blocked_v6: share(self.blocked_v6),
            responses: share(self.responses),
            response_timeout: self.response_timeout,
            waiting: share(self.waiting),
            failed: share(self.failed),
            events: share(self.events),
        }
    }
}
