//! How much the engine may hold, and how much it holds.

use core::time::Duration;

use crate::Reason;

/// Upper bounds of everything in the engine that a sender of packets can make
/// grow. `Default` stays below 64 MiB in all.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Sources whose probes are counted, 16 bytes each. Used only with a
    /// trigger above 1.
    pub sources: usize,
    /// How long a source may pause before it is counted anew, in whole seconds;
    /// `None`: for ever.
    pub trigger_window: Option<Duration>,
    /// Pairs of source and served port whose lines are limited, 16 bytes each.
    pub served_lines: usize,
    /// IPv4 hosts in the blocked set, at most 24 bytes each.
    pub blocked: usize,
    /// IPv6 hosts in the blocked set, as many bytes each.
    pub blocked_v6: usize,
    /// Responses under way or handed out.
    pub responses: usize,
    /// Probes that wait for the outcome of a response, about 100 bytes each.
    pub waiting: usize,
    /// Hosts whose last response failed, about 100 bytes each.
    pub failed: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sources: 3 << 19,
            trigger_window: None,
            served_lines: 1 << 12,
            blocked: 1 << 20,
            blocked_v6: 1 << 19,
            responses: 1 << 10,
            waiting: 1 << 14,
            failed: 1 << 12,
        }
    }
}

impl Limits {
    /// What each of so many engines may hold that share these limits and have sources
    /// of their own: together no more than one engine, but for the rounding of tables
    /// to a few slots.
    #[must_use]
    pub fn divided_by(&self, engines: usize) -> Self {
        let share = |of: usize| of.checked_div(engines).unwrap_or(of).max(1);
        Self {
            sources: share(self.sources),
            trigger_window: self.trigger_window,
            served_lines: share(self.served_lines),
            blocked: share(self.blocked),
            blocked_v6: share(self.blocked_v6),
            responses: share(self.responses),
            waiting: share(self.waiting),
            failed: share(self.failed),
        }
    }
}

/// What the engine has decided, and how full its tables are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    pub(super) reasons: [u64; Reason::ALL.len()],
    pub(super) observations: u64,
    /// Sources counted now.
    pub sources: usize,
    /// Sources that had to make room for others.
    pub sources_evicted: u64,
    /// Hosts in the blocked set.
    pub blocked: usize,
    /// Hosts that fell out of the blocked set because it was full.
    pub blocked_forgotten: u64,
    /// Responses under way.
    pub responses: usize,
    /// Probes that wait for a response.
    pub waiting: usize,
}

impl Statistics {
    pub(super) fn count(&mut self, reason: Reason) {
        if let Some(count) = self.reasons.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// How often a decision ended with `reason`. A probe that begins or awaits
    /// a response counts twice: then, and when the outcome is known.
    pub fn decided(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).copied().unwrap_or(0)
    }

    /// Observations so far.
    pub fn observations(&self) -> u64 {
        self.observations
    }

    /// Probes whose event was queued.
    pub fn probes(&self) -> u64 {
        Reason::ALL.iter().filter(|r| r.is_final()).map(|&r| self.decided(r)).sum()
    }
}
