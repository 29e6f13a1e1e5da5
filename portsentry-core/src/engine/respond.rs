//! The start, outcome, refusal and timeout of responses.

use core::net::IpAddr;

use super::responses::{Admission, Finished};
use super::{Effect, Engine, Outcome, PreventionScope, ResponseId};
use crate::{Decision, Instant, Observation, Reason, Verdict};

impl Engine {
    /// Requests a response to the source of `observation`, or reports the reason why not.
    pub(super) fn respond(&mut self, observation: &Observation) -> Verdict {
        let limit = self.policy.block_rate;
        match self.responses.admit(observation, false, self.now, &mut self.rate, limit) {
            Admission::Started(response) => {
                self.effects.push_back(Effect::Respond(response));
                Verdict::new(Decision::Respond, Reason::Triggered)
            }
            Admission::Waits => Verdict::new(Decision::Wait, Reason::Responding),
            Admission::Refused(reason) => {
                self.count_refusal(reason);
                self.report(observation, reason)
            }
        }
    }

    /// Requests the missing part of a response to the source of `observation`, a blocked host, if
    /// it is time and no limit is reached. The probe is reported as any other of a blocked host.
    pub(super) fn complete_response(&mut self, observation: &Observation) {
        if !self.responses.is_due_to_complete(observation.source, self.now) {
            return;
        }
        let limit = self.policy.block_rate;
        let admitted = self.responses.admit(observation, true, self.now, &mut self.rate, limit);
        if let Admission::Started(response) = admitted {
            self.effects.push_back(Effect::Respond(response));
        }
    }

    /// Handles the outcome of a response that [`poll_effect`](Self::poll_effect) returned.
    /// Queues the events of the probes that waited for it. Ignores an `id` that is not in
    /// progress, for example after a timeout.
    pub fn handle_outcome(&mut self, id: ResponseId, outcome: Outcome, now: Instant) {
        self.advance(now);
        self.end_response(id, outcome);
    }

    fn end_response(&mut self, id: ResponseId, outcome: Outcome) {
        let blocked = outcome != Outcome::Failed;
        // Without the blocked set, each further probe triggers a whole response anyway.
        let outcome = match outcome {
            Outcome::Partial if !self.policy.remember_blocked => Outcome::Succeeded,
            outcome => outcome,
        };
        let Some(finished) = self.responses.finish(id, outcome, self.now) else { return };
        let Finished { host, reported, mut probes } = finished;
        let (first, others) = if blocked {
            (Reason::Blocked, Reason::AlreadyBlocked)
        } else {
            (Reason::ResponseFailed, Reason::RetryLater)
        };
        let probe = if reported { None } else { probes.pop_front() };
        if let Some(probe) = probe {
            self.report_later(&probe, first);
        }
        if blocked {
            if self.policy.remember_blocked {
                self.remember_blocked(host);
            } else {
                // Each further probe triggers a response too, one at a time.
                while let Some(probe) = probes.pop_front() {
                    let verdict = self.respond(&probe);
                    self.statistics.count(verdict.reason);
                }
            }
        }
        for probe in &probes {
            self.report_later(probe, others);
        }
    }

    /// Invalidates the cached results of the host, and of the evicted host.
    fn remember_blocked(&mut self, host: IpAddr) {
        let hash = self.blocked.hash(host);
        let forgotten = self.blocked.insert(host, hash);
        for hash in [Some(hash), forgotten].into_iter().flatten() {
            self.lookups.invalidate(hash, &mut self.sources);
        }
    }

    /// Handles responses whose deadline has passed as failed.
    pub(super) fn expire_responses(&mut self) {
        while let Some(id) = self.responses.overdue(self.now) {
            // The effect is withdrawn if the caller has not taken it.
            self.effects.retain(|effect| {
                let Effect::Respond(response) = effect;
                response.id != id
            });
            self.statistics.responses_timed_out += 1;
            self.end_response(id, Outcome::Failed);
        }
    }

    /// Cancels a response that [`poll_effect`](Self::poll_effect) returned and that was not
    /// started, because a limit of `limit` responses per minute outside of this engine is
    /// reached until `until`. Reports its probes, and those that arrive before `until`, as
    /// rate limited. The summary contains `limit`. Ignores an `id` that is not in progress.
    ///
    /// Use this with a [`RateLimit`](crate::RateLimit) outside of the engine: in a responder
    /// that owns the limit, or for several engines with different sources, which then decide
    /// like one engine. Set [`Policy::block_rate`](crate::Policy::block_rate) to 0 or to the
    /// same limit.
    pub fn refuse(&mut self, id: ResponseId, limit: u32, until: Instant, now: Instant) {
        self.advance(now);
        let Some(probes) = self.responses.refuse(id, self.now) else { return };
        self.rate.give_back();
        self.rate.shut_until(until);
        for probe in &probes {
            self.count_external_refusal(limit);
            self.report_later(probe, Reason::RateLimited);
        }
    }

    /// Cancels a response that [`poll_effect`](Self::poll_effect) returned, because a check
    /// outside of the engine found that it must not happen: this host depends on the other
    /// one, for example. Reports its probe as prevented. Until `until`, later probes in
    /// `scope` are reported as prevented too, without another effect. The response counts
    /// neither as failed nor for the limit of responses. Ignores an `id` that is not in
    /// progress.
    pub fn prevent(
        &mut self,
        id: ResponseId,
        scope: PreventionScope,
        until: Instant,
        now: Instant,
    ) {
        self.advance(now);
        let prevented = self.responses.prevent(id, scope, until, self.now);
        let Some(Finished { reported, mut probes, .. }) = prevented else { return };
        self.rate.give_back();
        let probe = if reported { None } else { probes.pop_front() };
        if let Some(probe) = probe {
            self.report_later(&probe, Reason::Prevented);
        }
        // The scope may not include the ports of the others.
        for probe in &probes {
            let verdict = self.respond(probe);
            self.statistics.count(verdict.reason);
        }
    }

    fn report_later(&mut self, observation: &Observation, reason: Reason) {
        self.statistics.count(reason);
        self.report(observation, reason);
    }

    /// Ends the use of the engine. Call it when no more outcomes will arrive. Queues the
    /// events of all waiting probes, as not blocked, and the open summaries. Drops effects
    /// that were not polled. Returns the number of responses in progress.
    pub fn close(&mut self) -> usize {
        self.effects.clear();
        let (under_way, probes) = self.responses.abandon();
        for probe in &probes {
            self.report_later(probe, Reason::ResponseFailed);
        }
        self.summarize();
        under_way
    }
}
