//! The decision about each observation, and the state it needs.
//!
//! The engine does no I/O. The caller hands in observations and the time,
//! takes out events to be written and effects to be carried out, and reports
//! how each effect ended. The same calls always give the same answers.

mod limits;
mod lookup_cache;
mod prefetch;
mod rate_limit;
mod responses;

use alloc::collections::VecDeque;
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;

use crate::blocked_set::BlockedSet;
use crate::counter_table::{CounterTable, Window};
use crate::hash_key::{HashKey, address_bits};
use crate::{
    Decision, Event, Instant, Observation, Policy, Protocol, Reason, ServedPorts, Verdict,
};

pub use limits::{Limits, Statistics};
pub use rate_limit::RateLimit;
pub use responses::{Effect, Outcome, Response, ResponseId};

use lookup_cache::{LookupCache, Lookups};
use prefetch::BATCH;
use responses::{Admission, Responses};

/// How long lines about one source and served port, and summaries, are apart.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(60);

/// The detection state machine. See the [crate documentation](crate) for an
/// example of the loop around it.
#[derive(Debug)]
pub struct Engine {
    policy: Policy,
    served: ServedPorts,
    sources: CounterTable,
    lookups: LookupCache,
    served_log: CounterTable,
    blocked: BlockedSet,
    responses: Responses,
    rate: RateLimit,
    events: VecDeque<Event>,
    effects: VecDeque<Effect>,
    suppressed: Suppressed,
    statistics: Statistics,
    now: Instant,
}

/// What was not said or not done since the last summary.
#[derive(Debug, Default)]
struct Suppressed {
    due: Option<Instant>,
    served_lines: u64,
    rate_limited: u64,
    overloaded: u64,
}

impl Engine {
    /// An engine that has seen nothing. `limits` bounds its memory for good;
    /// `key` should be random, see [`HashKey`].
    pub fn new(policy: Policy, limits: &Limits, key: HashKey) -> Self {
        Self {
            policy,
            served: ServedPorts::default(),
            blocked: BlockedSet::new(limits.blocked, limits.blocked_v6, key.clone()),
            served_log: CounterTable::new(limits.served_lines, Some(SUMMARY_INTERVAL), key.clone()),
            sources: CounterTable::new(limits.sources, limits.trigger_window, key),
            lookups: LookupCache::new(),
            responses: Responses::new(limits),
            rate: RateLimit::default(),
            events: VecDeque::new(),
            effects: VecDeque::new(),
            suppressed: Suppressed::default(),
            statistics: Statistics::default(),
            now: Instant::default(),
        }
    }

    /// Decides about one attempt. Allocates nothing, but for the rare attempt
    /// that starts a response or waits for one.
    ///
    /// Afterwards [`poll_event`](Self::poll_event) and
    /// [`poll_effect`](Self::poll_effect) may have something; a caller with a
    /// batch can poll once after the batch.
    pub fn observe(&mut self, observation: &Observation, now: Instant) -> Verdict {
        self.advance(now);
        let hash = if self.needs_hash() { self.source_hash(observation) } else { 0 };
        let known = match self.caches_lookups() {
            true => self.lookups.get(hash, &self.sources),
            false => Lookups::default(),
        };
        self.decide_and_count(observation, hash, known)
    }

    /// Decides about several attempts as [`observe`](Self::observe) would, one
    /// after the other.
    ///
    /// What the attempts need from the large tables is fetched for a few dozen
    /// at a time: memory answers many questions at once in little more than the
    /// time of one. With more sources than the processor's cache holds, a batch
    /// costs a quarter of as many single calls.
    pub fn observe_batch(&mut self, observations: &[Observation], now: Instant) {
        let mut hashes = [0; BATCH];
        for observations in observations.chunks(BATCH) {
            self.advance(now);
            if self.needs_hash() {
                for (observation, hash) in observations.iter().zip(&mut hashes) {
                    *hash = self.source_hash(observation);
                }
            }
            let known = self.prefetch(observations, &hashes);
            for ((observation, hash), known) in observations.iter().zip(&hashes).zip(&known) {
                self.decide_and_count(observation, *hash, *known);
            }
        }
    }

    /// Whether probes are counted for each source.
    const fn counts(&self) -> bool {
        self.policy.scan_trigger > 1
    }

    /// Whether the blocked set is asked.
    const fn remembers(&self) -> bool {
        self.policy.remember_blocked && (self.policy.block_tcp || self.policy.block_udp)
    }

    const fn needs_hash(&self) -> bool {
        self.counts() || self.remembers()
    }

    /// Whether there is something to be noted beside the counters.
    fn caches_lookups(&self) -> bool {
        self.counts() && (self.remembers() || !self.policy.ignore.is_empty())
    }

    /// What names the source in both tables, which have the same key.
    fn source_hash(&self, observation: &Observation) -> u64 {
        self.sources.hash(address_bits(observation.source), 0)
    }

    /// Decides and counts. `hash` is that of the source if it is needed.
    fn decide_and_count(
        &mut self,
        observation: &Observation,
        hash: u64,
        known: Lookups,
    ) -> Verdict {
        let verdict = self.decide(observation, hash, known);
        self.statistics.observations += 1;
        self.statistics.count(verdict.reason);
        verdict
    }

    fn decide(&mut self, observation: &Observation, hash: u64, known: Lookups) -> Verdict {
        let Observation { source, target, target_port, .. } = *observation;
        let protocol = observation.protocol();
        if !observation.is_opener() {
            return dropped(Reason::NotOpener);
        }
        if !self.policy.monitors(protocol, target_port) {
            return dropped(Reason::NotMonitored);
        }
        if !self.policy.watch_served_ports
            && (self.served.serves(protocol, target, target_port)
                || protocol == Protocol::Udp && self.serves_peer(observation))
        {
            self.report_served_port(observation);
            return dropped(Reason::Served);
        }
        if known.ignored().unwrap_or_else(|| self.policy.ignore.contains(source)) {
            return self.report(observation, Reason::IgnoreList);
        }
        if !self.reaches_trigger(hash, observation.at, known) {
            return self.report(observation, Reason::BelowTrigger);
        }
        if source == target && !self.policy.respond_to_self {
            return self.report(observation, Reason::SameAddress);
        }
        if !self.policy.blocks(protocol) {
            return self.report(observation, Reason::LogOnly);
        }
        if self.policy.never_block.contains(source) {
            return self.report(observation, Reason::NeverBlock);
        }
        if self.policy.remember_blocked && self.is_known_blocked(source, hash, known) {
            return self.report(observation, Reason::AlreadyBlocked);
        }
        self.respond(observation)
    }

    /// Whether the source, which is not ignored, is in the blocked set.
    fn is_known_blocked(&mut self, source: IpAddr, hash: u64, known: Lookups) -> bool {
        known.blocked().unwrap_or_else(|| {
            let blocked = self.blocked.contains(source, hash);
            self.cache(Lookups::default().with_blocked(blocked), hash);
            blocked
        })
    }

    /// Notes what was found out about a source that is not ignored.
    fn cache(&mut self, lookups: Lookups, hash: u64) {
        if self.caches_lookups() {
            self.lookups.store(lookups.with_ignored(false), hash, &mut self.sources);
        }
    }

    /// Whether a connected socket gets what this peer sends.
    fn serves_peer(&self, observation: &Observation) -> bool {
        let Observation { source, source_port, target, target_port, .. } = *observation;
        self.served.is_connected((target, target_port), (source, source_port))
    }

    /// Counts a probe of a source that is not ignored.
    fn reaches_trigger(&mut self, hash: u64, at: Instant, known: Lookups) -> bool {
        if !self.counts() {
            return true;
        }
        let count = self.sources.bump(hash, at, Window::Sliding);
        if !known.is_cached() {
            self.cache(Lookups::default(), hash);
        }
        count >= self.policy.scan_trigger
    }

    fn report(&mut self, observation: &Observation, reason: Reason) -> Verdict {
        self.events.push_back(Event::probe(*observation, reason));
        Verdict { decision: Decision::Report, reason }
    }

    fn report_served_port(&mut self, observation: &Observation) {
        let Observation { source, target_port: port, .. } = *observation;
        let hash = self.served_log.hash(address_bits(source), port);
        let seen = self.served_log.bump(hash, self.now, Window::Fixed);
        if seen == 1 {
            self.events.push_back(Event::served_port(observation));
        } else {
            self.suppressed.served_lines += 1;
            self.schedule_summary();
        }
    }

    fn respond(&mut self, observation: &Observation) -> Verdict {
        let limit = self.policy.block_rate;
        match self.responses.admit(observation, self.now, &mut self.rate, limit) {
            Admission::Begun(response) => {
                self.effects.push_back(Effect::Respond(response));
                Verdict { decision: Decision::Respond, reason: Reason::Triggered }
            }
            Admission::Waits => Verdict { decision: Decision::Wait, reason: Reason::Responding },
            Admission::Refused(reason) => {
                self.count_refusal(reason);
                self.report(observation, reason)
            }
        }
    }

    fn count_refusal(&mut self, reason: Reason) {
        match reason {
            Reason::RateLimited => self.suppressed.rate_limited += 1,
            Reason::Overloaded => self.suppressed.overloaded += 1,
            _ => return,
        }
        self.schedule_summary();
    }

    /// Takes the outcome of a response that [`poll_effect`](Self::poll_effect)
    /// handed out. The events of the probes that waited for it are queued. An
    /// `id` that is not under way is ignored.
    pub fn handle_outcome(&mut self, id: ResponseId, outcome: Outcome, now: Instant) {
        self.advance(now);
        let Some(mut probes) = self.responses.finish(id, outcome, self.now) else { return };
        let host = id.host();
        let (first, others) = match outcome {
            Outcome::Succeeded => (Reason::Blocked, Reason::AlreadyBlocked),
            Outcome::Failed => (Reason::ResponseFailed, Reason::RetryLater),
        };
        if let Some(probe) = probes.pop_front() {
            self.report_later(&probe, first);
        }
        if outcome == Outcome::Succeeded {
            if self.policy.remember_blocked {
                self.remember_blocked(host);
            } else {
                // Each further probe is responded to as well, one at a time.
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

    /// What was noted of the host, and of the one that is forgotten for it, holds no more.
    fn remember_blocked(&mut self, host: IpAddr) {
        let hash = self.blocked.hash(host);
        let forgotten = self.blocked.insert(host, hash);
        for hash in [Some(hash), forgotten].into_iter().flatten() {
            self.lookups.invalidate(hash, &mut self.sources);
        }
    }

    /// Takes back a response that [`poll_effect`](Self::poll_effect) handed out and
    /// that was not begun, because as many as [`Policy::block_rate`] allows were
    /// begun by others until `until`. Its probes are reported as rate limited, and
    /// so are those that come before that time. An `id` that is not under way is
    /// ignored.
    ///
    /// This is for whoever has several engines, with sources of their own, and one
    /// [`RateLimit`] for all: then each decides as one engine would.
    pub fn refuse(&mut self, id: ResponseId, until: Instant, now: Instant) {
        self.advance(now);
        let Some(probes) = self.responses.refuse(id, self.now) else { return };
        self.rate.give_back();
        self.rate.shut_until(until);
        for probe in &probes {
            self.count_refusal(Reason::RateLimited);
            self.report_later(probe, Reason::RateLimited);
        }
    }

    fn report_later(&mut self, observation: &Observation, reason: Reason) {
        self.statistics.count(reason);
        self.report(observation, reason);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called, if at
    /// all. To be asked again after every other call.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.suppressed.due
    }

    /// Does what has become due. Calling it early does no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        if self.suppressed.due.is_some_and(|due| due <= self.now) {
            self.summarize();
        }
    }

    fn schedule_summary(&mut self) {
        self.suppressed.due.get_or_insert(self.now.after(SUMMARY_INTERVAL));
    }

    fn summarize(&mut self) {
        let suppressed = core::mem::take(&mut self.suppressed);
        if suppressed.served_lines > 0 {
            self.events.push_back(Event::ServedPortSuppressed { packets: suppressed.served_lines });
        }
        if suppressed.rate_limited > 0 {
            let (probes, limit) = (suppressed.rate_limited, self.policy.block_rate);
            self.events.push_back(Event::RateLimited { probes, limit });
        }
        if suppressed.overloaded > 0 {
            self.events.push_back(Event::Overloaded { probes: suppressed.overloaded });
        }
    }

    /// To be called once no more outcomes will come: every probe that waits
    /// for one gets its event, as not blocked, and open summaries are queued.
    /// Effects that were not polled are dropped. Gives the number of responses
    /// that were under way.
    pub fn close(&mut self) -> usize {
        self.effects.clear();
        let (under_way, probes) = self.responses.abandon();
        for probe in &probes {
            self.report_later(probe, Reason::ResponseFailed);
        }
        self.summarize();
        under_way
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The next effect, oldest first. Each must be answered by one
    /// [`handle_outcome`](Self::handle_outcome) or [`refuse`](Self::refuse).
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Replaces the rules. Counters, the blocked set and responses under way
    /// stay.
    pub fn set_policy(&mut self, policy: Policy) {
        // Another limit may leave room.
        self.rate.shut_until(Instant::default());
        self.policy = policy;
        self.lookups.invalidate_all(&mut self.sources);
    }

    /// The rules in force.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Replaces the snapshot of served ports.
    pub fn set_served_ports(&mut self, served: ServedPorts) {
        self.served = served;
    }

    /// Adds hosts that an earlier run has dealt with, in the order it did. Past the
    /// caps of [`Limits::blocked`] and [`Limits::blocked_v6`] those that were added first are forgotten. About
    /// 90 ns each for a million, which are gone through twice: to be counted first.
    pub fn restore_blocked<I>(&mut self, hosts: I)
    where
        I: IntoIterator<Item = IpAddr, IntoIter: Clone>,
    {
        let mut hosts = hosts.into_iter();
        let (v4, all) = hosts
            .clone()
            .fold((0, 0), |(v4, all), host| (v4 + usize::from(host.is_ipv4()), all + 1));
        self.blocked.reserve(v4, all - v4);
        self.lookups.invalidate_all(&mut self.sources);
        let mut batch = [(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0); BATCH];
        loop {
            let mut filled = 0;
            let mut sum = 0;
            for (entry, host) in batch.iter_mut().zip(&mut hosts) {
                *entry = (host, self.blocked.hash(host));
                sum ^= self.blocked.prefetch(host, entry.1);
                filled += 1;
            }
            core::hint::black_box(sum);
            for (host, hash) in batch.iter().take(filled) {
                self.blocked.insert(*host, *hash);
            }
            if filled < batch.len() {
                return;
            }
        }
    }

    /// Whether `host` is in the blocked set.
    pub fn is_blocked(&self, host: IpAddr) -> bool {
        self.blocked.contains(host, self.blocked.hash(host))
    }

    /// What was decided so far, and how full the tables are.
    pub fn statistics(&self) -> Statistics {
        Statistics {
            sources: self.sources.len(),
            sources_evicted: self.sources.evicted(),
            blocked: self.blocked.len(),
            blocked_forgotten: self.blocked.forgotten(),
            responses: self.responses.under_way(),
            waiting: self.responses.waiting(),
            ..self.statistics
        }
    }

    /// Time never goes back for the engine.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

const fn dropped(reason: Reason) -> Verdict {
    Verdict { decision: Decision::Drop, reason }
}

#[cfg(test)]
mod tests;
