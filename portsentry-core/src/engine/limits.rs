//! Upper bounds of the engine's memory.

use core::time::Duration;

use crate::counter_table::MAX_SLOTS;

/// Upper bounds of everything in the engine that a sender of packets can make
/// grow. `Default` stays below 64 MiB in all.
///
/// Later versions add bounds: start from `Default` and change what differs, by
/// method or by assignment.
///
/// ```
/// use portsentry_core::Limits;
///
/// let limits = Limits::default().sources(1 << 16).blocked(10_000);
/// assert_eq!(limits.blocked, 10_000);
/// ```
///
/// No value is invalid. Values that no memory could hold mean the largest
/// possible bound, and 0 means the smallest.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Limits {
    /// Sources whose probes are counted, 16 bytes each, at most 2^26. Used only
    /// with a trigger above 1.
    pub sources: usize,
    /// Pairs of source and served port whose lines are limited, 16 bytes each,
    /// at most 2^26.
    pub served_lines: usize,
    /// IPv4 hosts in the blocked set, at most 20 bytes each.
    pub blocked: usize,
    /// IPv6 hosts in the blocked set, at most 33 bytes each.
    pub blocked_v6: usize,
    /// Responses under way or handed out. 0: the engine never responds.
    pub responses: usize,
    /// How long a response may be without an outcome; `None`: for ever. After
    /// that, the engine handles it as failed and ignores its outcome.
    pub response_timeout: Option<Duration>,
    /// Probes that wait for the outcome of a response, about 110 bytes each.
    pub waiting: usize,
    /// Hosts whose last response failed, about 100 bytes each.
    pub failed: usize,
    /// Events that wait for [`Engine::poll_event`](crate::Engine::poll_event),
    /// about 100 bytes each. Further events are lost and counted
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
    /// The bounds for each of `engines` engines that share these bounds and have
    /// different sources: together they hold no more than one engine, except for the
    /// rounding of tables to a few slots. Time limits stay.
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
