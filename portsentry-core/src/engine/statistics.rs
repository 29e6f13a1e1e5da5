//! Counts of the engine's decisions.

use crate::Reason;

/// Counts of the engine's decisions, and fill levels of its tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Statistics {
    #[cfg_attr(feature = "serde", serde(serialize_with = "by_name"))]
    pub(super) reasons: [u64; Reason::ALL.len()],
    pub(super) observations: u64,
    /// Number of sources in the counter table.
    pub sources: usize,
    /// Number of sources evicted from the full counter table.
    pub sources_evicted: u64,
    /// Number of hosts in the blocked set.
    pub blocked: usize,
    /// Number of hosts evicted from the full blocked set.
    pub blocked_forgotten: u64,
    /// Number of responses in progress.
    pub responses: usize,
    /// Number of probes that wait for a response.
    pub waiting: usize,
    /// Number of responses without an outcome within
    /// [`Limits::response_timeout`](crate::Limits::response_timeout).
    pub responses_timed_out: u64,
    /// Number of events lost because too many waited, see
    /// [`Limits::events`](crate::Limits::events).
    pub events_lost: u64,
}

impl Statistics {
    pub(super) fn count(&mut self, reason: Reason) {
        if let Some(count) = self.reasons.get_mut(reason as usize) {
            *count += 1;
        }
    }

    /// Returns the number of decisions that ended with `reason`. A probe that starts or waits
    /// for a response counts twice: immediately, and when the outcome is known.
    pub fn decided(&self, reason: Reason) -> u64 {
        self.reasons.get(reason as usize).copied().unwrap_or(0)
    }

    /// Returns all reasons with the number of their decisions, in the order of
    /// [`Reason::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> + '_ {
        Reason::ALL.iter().copied().zip(self.reasons)
    }

    /// Adds the counts of another engine with different sources.
    pub fn merge(&mut self, other: &Self) {
        for (sum, count) in self.reasons.iter_mut().zip(other.reasons) {
            *sum += count;
        }
        self.observations += other.observations;
        self.sources += other.sources;
        self.sources_evicted += other.sources_evicted;
        self.blocked += other.blocked;
        self.blocked_forgotten += other.blocked_forgotten;
        self.responses += other.responses;
        self.waiting += other.waiting;
        self.responses_timed_out += other.responses_timed_out;
        self.events_lost += other.events_lost;
    }

    /// Returns the number of observations so far.
    pub fn observations(&self) -> u64 {
        self.observations
    }

    /// Returns the number of probes whose event was queued.
    pub fn probes(&self) -> u64 {
        Reason::ALL.iter().filter(|r| r.is_final()).map(|&r| self.decided(r)).sum()
    }
}

/// Writes the counts as a map with the names of the reasons.
#[cfg(feature = "serde")]
fn by_name<S: serde::Serializer>(
    counts: &[u64; Reason::ALL.len()],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Reason::ALL.iter().zip(counts))
}
