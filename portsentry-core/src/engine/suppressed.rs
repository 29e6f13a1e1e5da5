//! Suppressed events, with a summary once a minute.

use core::time::Duration;

use super::Engine;
use crate::{Event, Instant, Reason};

/// Minimum time between summaries, and between lines about one source and served port.
pub(super) const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// Counts since the last summary.
#[derive(Debug, Default)]
pub(super) struct Suppressed {
    pub(super) due: Option<Instant>,
    served_lines: u64,
    rate_limited: u64,
    overloaded: u64,
    /// Limit of another rate limiter, see [`Engine::refuse`].
    limit: Option<u32>,
}

impl Engine {
    pub(super) fn suppress_served_port(&mut self) {
        self.suppressed.served_lines += 1;
        self.schedule_summary();
    }

    pub(super) fn count_refusal(&mut self, reason: Reason) {
        match reason {
            Reason::RateLimited => self.suppressed.rate_limited += 1,
            Reason::Overloaded => self.suppressed.overloaded += 1,
            _ => return,
        }
        self.schedule_summary();
    }

    /// Counts a refusal by another rate limiter, with `limit` for the next summary.
    pub(super) fn count_external_refusal(&mut self, limit: u32) {
        self.suppressed.limit = Some(limit);
        self.count_refusal(Reason::RateLimited);
    }

    fn schedule_summary(&mut self) {
        self.suppressed.due.get_or_insert(self.now.after(SUMMARY_INTERVAL));
    }

    pub(super) fn summarize(&mut self) {
        // The limit is kept, because it also refuses later probes without a call of `refuse`.
        let limit = self.suppressed.limit;
        let suppressed =
            core::mem::replace(&mut self.suppressed, Suppressed { limit, ..Suppressed::default() });
        if suppressed.served_lines > 0 {
            self.push_event(Event::served_port_suppressed(suppressed.served_lines));
        }
        if suppressed.rate_limited > 0 {
            let limit = limit.unwrap_or(self.policy.block_rate);
            self.push_event(Event::rate_limited(suppressed.rate_limited, limit));
        }
        if suppressed.overloaded > 0 {
            self.push_event(Event::overloaded(suppressed.overloaded));
        }
    }

    /// Removes the limit of another rate limiter.
    pub(super) fn forget_external_limit(&mut self) {
        self.suppressed.limit = None;
    }
}
