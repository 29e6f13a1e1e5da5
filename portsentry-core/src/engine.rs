//! The decision about each observation, and the state it needs.
//!
//! The engine does no I/O. The caller passes observations and the time, takes events to
//! write and effects to perform, and reports the outcome of each effect. The same calls
//! always return the same results.

mod advice;
mod hosts;
mod limits;
mod lookup_cache;
mod prefetch;
mod rate_limit;
mod respond;
mod response;
mod responses;
mod served;
mod statistics;
mod suppressed;

use alloc::collections::VecDeque;
use core::fmt;
use core::net::IpAddr;

use crate::blocked_set::BlockedSet;
use crate::counter_table::{CounterTable, Window};
use crate::hash_key::HashKey;
use crate::{Decision, Event, Instant, Observation, Policy, Reason, Verdict, is_reserved_source};

pub use self::advice::Advice;
pub use self::limits::Limits;
pub use self::rate_limit::RateLimit;
pub use self::response::{Effect, Outcome, PreventionScope, Response, ResponseId};
pub use self::statistics::Statistics;

use self::lookup_cache::{LookupCache, Lookups};
use self::prefetch::BATCH;
use self::responses::Responses;
use self::served::Served;
use self::suppressed::Suppressed;

/// The detection state machine.
///
/// The engine is a value without I/O. Its caller drives it, and all methods return
/// immediately. There are six kinds of methods:
///
/// - *Input*: [`observe`](Self::observe), [`observe_batch`](Self::observe_batch) and
///   [`observe_advised`](Self::observe_advised) take attempts;
///   [`handle_outcome`](Self::handle_outcome), [`refuse`](Self::refuse) and
///   [`prevent`](Self::prevent) take the results of responses;
///   [`handle_timeout`](Self::handle_timeout) takes the time.
/// - *Output*: [`poll_effect`](Self::poll_effect) returns actions to perform,
///   [`poll_event`](Self::poll_event) events to report, and
///   [`poll_timeout`](Self::poll_timeout) the time at which to call `handle_timeout`.
/// - *Rules*: [`set_policy`](Self::set_policy) and
///   [`set_served_ports`](Self::set_served_ports) replace them at any time and keep the
///   state.
/// - *Hosts*: [`restore_blocked`](Self::restore_blocked), [`blocked`](Self::blocked),
///   [`is_blocked`](Self::is_blocked), [`forget`](Self::forget) and
///   [`probes_of`](Self::probes_of).
/// - *Numbers*: [`statistics`](Self::statistics).
/// - *End*: [`close`](Self::close), after which every probe has its event.
///
/// # Order of calls
///
/// After any input, or a batch of inputs:
///
/// 1. Call `poll_effect` until it returns `None`, and hand each effect to a responder.
///    Each [`Effect::Respond`] needs one `handle_outcome`, `refuse` or `prevent`, now or
///    later.
/// 2. Call `poll_event` until it returns `None`. If an outcome is known in step 1, its
///    events are among these.
/// 3. Call `poll_timeout`. Wait for input, but no longer than until that time, and then
///    call `handle_timeout`.
///
/// Events and effects wait in memory until the caller takes them. [`Limits`] bounds their
/// number.
///
/// # Example
///
/// The loop of a program. Here, the sensor and the responder are plain lists:
///
/// ```
/// use portsentry_core::*;
/// use std::time::Duration;
///
/// fn deliver(engine: &mut Engine, reports: &mut Vec<Event>, now: Instant) {
///     while let Some(effect) = engine.poll_effect() {
///         if let Effect::Respond(response) = effect {
///             // A real responder works elsewhere, and its outcome arrives later.
///             engine.handle_outcome(response.id, Outcome::Succeeded, now);
///         }
///     }
///     while let Some(event) = engine.poll_event() {
///         reports.push(event);
///     }
/// }
///
/// let policy = Policy {
///     tcp_ports: "23,3389".parse().unwrap(),
///     ignore: "203.0.113.0/24".parse().unwrap(),
///     block_tcp: true,
///     block_rate: 1,
///     remember_blocked: true,
///     ..Policy::default()
/// };
/// let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));
/// let target = "198.51.100.1:23".parse().unwrap();
/// let packets = ["192.0.2.7:4000", "192.0.2.8:4000", "203.0.113.9:4000"];
///
/// let (mut reports, mut now) = (Vec::new(), Instant::from_secs(1));
/// for source in packets {
///     now = now + Duration::from_millis(10);
///     let packet = Observation::segment(source.parse().unwrap(), target, TcpFlags::SYN);
///     engine.observe(&packet.at(now), now);
///     deliver(&mut engine, &mut reports, now);
/// }
/// // The second host got no response: a summary is due in a minute.
/// while let Some(due) = engine.poll_timeout() {
///     now = due;
///     engine.handle_timeout(now);
///     deliver(&mut engine, &mut reports, now);
/// }
/// assert_eq!(engine.close(), 0);
///
/// let reasons: Vec<Reason> = reports
///     .iter()
///     .filter_map(|event| match event {
///         Event::Probe(probe) => Some(probe.reason),
///         _ => None,
///     })
///     .collect();
/// assert_eq!(reasons, [Reason::Blocked, Reason::RateLimited, Reason::IgnoreList]);
/// assert!(matches!(reports.last(), Some(Event::RateLimited { probes: 1, limit: 1, .. })));
/// assert_eq!(engine.blocked().count(), 1);
/// ```
pub struct Engine {
    policy: Policy,
    trigger_window: Window,
    served: Served,
    sources: CounterTable,
    lookups: LookupCache,
    served_log: CounterTable,
    blocked: BlockedSet,
    responses: Responses,
    rate: RateLimit,
    events: VecDeque<Event>,
    max_events: usize,
    effects: VecDeque<Effect>,
    suppressed: Suppressed,
    statistics: Statistics,
    now: Instant,
}

/// Writes the time and the statistics, without the tables, which would need megabytes.
impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine")
            .field("now", &self.now)
            .field("events", &self.events.len())
            .field("effects", &self.effects.len())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Creates an engine without state. `limits` bounds its memory and cannot be changed
    /// later. `key` should be random, see [`HashKey`].
    pub fn new(policy: Policy, limits: &Limits, key: HashKey) -> Self {
        Self {
            trigger_window: Window::sliding(policy.trigger_window),
            policy,
            served: Served::default(),
            blocked: BlockedSet::new(limits.blocked, limits.blocked_v6, key.clone()),
            served_log: CounterTable::new(limits.served_lines, key.clone()),
            sources: CounterTable::new(limits.sources, key),
            lookups: LookupCache::new(),
            responses: Responses::new(limits),
            rate: RateLimit::default(),
            events: VecDeque::new(),
            max_events: limits.events.max(1),
            effects: VecDeque::new(),
            suppressed: Suppressed::default(),
            statistics: Statistics::default(),
            now: Instant::default(),
        }
    }

    /// Numbers responses `first`, `first + step`, and so on. The default is 1, 2, 3.
    ///
    /// Engines that share one responder need unique identities: with `n` engines, engine
    /// `i` starts at `i` and has the step `n`. Then `id.as_u64() % n` is the engine of a
    /// response, for the first 2^64 responses. Call this before the first observation.
    #[must_use]
    pub fn with_response_ids(mut self, first: u64, step: u64) -> Self {
        self.responses.number_from(first, step);
        self
    }

    /// Decides about one attempt. Allocates memory only if the attempt starts a response or
    /// waits for one, which is rare.
    ///
    /// `now` drives timeouts; detection compares [`Observation::at`](Observation::at). IPv4-mapped addresses count as IPv4.
    /// Afterwards, [`poll_event`](Self::poll_event) and
    /// [`poll_effect`](Self::poll_effect) may return something; a caller with a
    /// batch can poll once after the batch.
    pub fn observe(&mut self, observation: &Observation, now: Instant) -> Verdict {
        self.advance(now);
        let hash = if self.needs_hash() { self.source_hash(observation) } else { 0 };
        let known = self.cached_lookups(hash);
        self.decide_and_count(observation, hash, known)
    }

    /// Decides about one attempt like [`observe`](Self::observe), with advice of the caller
    /// about its source. [`Advice`] lists the rules that it replaces.
    ///
    /// ```
    /// use portsentry_core::*;
    ///
    /// let policy = Policy {
    ///     tcp_ports: "23".parse().unwrap(),
    ///     scan_trigger: 10,
    ///     block_tcp: true,
    ///     ..Policy::default()
    /// };
    /// let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));
    /// let (source, target) = ("192.0.2.7:4000", "198.51.100.1:23");
    /// let probe =
    ///     Observation::segment(source.parse().unwrap(), target.parse().unwrap(), TcpFlags::SYN);
    /// // A reputation list names the source.
    /// let verdict = engine.observe_advised(&probe, Advice::Trigger, Instant::from_secs(1));
    /// assert_eq!(verdict.decision, Decision::Respond);
    /// ```
    pub fn observe_advised(
        &mut self,
        observation: &Observation,
        advice: Advice,
        now: Instant,
    ) -> Verdict {
        self.advance(now);
        let hash = if self.needs_hash() { self.source_hash(observation) } else { 0 };
        let known = self.cached_lookups(hash).advised(advice);
        self.decide_and_count(observation, hash, known)
    }

    fn cached_lookups(&self, hash: u64) -> Lookups {
        match self.caches_lookups() {
            true => self.lookups.get(hash, &self.sources),
            false => Lookups::default(),
        }
    }

    /// Decides about several attempts, one after the other, like [`observe`](Self::observe).
    ///
    /// Entries of the large tables are fetched for 64 attempts at a time, because memory
    /// answers many parallel requests in little more than the time of one. If there are
    /// more sources than fit into the processor's cache, a batch takes a quarter of the
    /// time of single calls.
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

    /// Returns whether probes are counted for each source.
    const fn counts(&self) -> bool {
        self.policy.scan_trigger > 1
    }

    /// Returns whether the engine searches the blocked set.
    const fn remembers(&self) -> bool {
        self.policy.remember_blocked && (self.policy.block_tcp || self.policy.block_udp)
    }

    const fn needs_hash(&self) -> bool {
        self.counts() || self.remembers()
    }

    /// Returns whether lookups are cached next to the counters.
    fn caches_lookups(&self) -> bool {
        self.counts() && (self.remembers() || !self.policy.ignore.is_empty())
    }

    /// Returns the hash of the source in both tables, which have the same key.
    fn source_hash(&self, observation: &Observation) -> u64 {
        self.sources.hash(observation.source_bits(), 0)
    }

    /// Decides and counts. `hash` is the hash of the source, if it is needed.
    fn decide_and_count(
        &mut self,
        observation: &Observation,
        hash: u64,
        known: Lookups,
    ) -> Verdict {
        // Constructors make addresses canonical, but the fields can be assigned.
        let copy;
        let observation = if observation.is_mapped() {
            copy = observation.canonical();
            &copy
        } else {
            observation
        };
        let verdict = self.decide(observation, hash, known);
        self.count(verdict)
    }

    fn count(&mut self, verdict: Verdict) -> Verdict {
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
        if !self.policy.watch_served_ports && self.is_served(observation, protocol) {
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
        if is_reserved_source(source) {
            return self.report(observation, Reason::ReservedSource);
        }
        if !self.policy.blocks(protocol) {
            return self.report(observation, Reason::LogOnly);
        }
        if self.policy.never_block.contains(source) {
            return self.report(observation, Reason::NeverBlock);
        }
        if known.is_spared() {
            return self.report(observation, Reason::Advised);
        }
        if self.policy.remember_blocked && self.is_known_blocked(source, hash, known) {
            self.complete_response(observation);
            return self.report(observation, Reason::AlreadyBlocked);
        }
        self.respond(observation)
    }

    /// Returns whether a source that is not ignored is in the blocked set.
    fn is_known_blocked(&mut self, source: IpAddr, hash: u64, known: Lookups) -> bool {
        known.blocked().unwrap_or_else(|| {
            let blocked = self.blocked.contains(source, hash);
            self.cache(Lookups::default().with_blocked(blocked), hash);
            blocked
        })
    }

    /// Caches the lookups of a source that is not ignored.
    fn cache(&mut self, lookups: Lookups, hash: u64) {
        if self.caches_lookups() {
            self.lookups.store(lookups.with_ignored(false), hash, &mut self.sources);
        }
    }

    /// Counts a probe of a source that is not ignored.
    fn reaches_trigger(&mut self, hash: u64, at: Instant, known: Lookups) -> bool {
        if !self.counts() {
            return true;
        }
        let count = self.sources.bump(hash, at, self.trigger_window);
        if !known.is_cached() {
            self.cache(Lookups::default(), hash);
        }
        count >= self.policy.scan_trigger || known.is_triggered()
    }

    fn report(&mut self, observation: &Observation, reason: Reason) -> Verdict {
        self.push_event(Event::probe(*observation, reason));
        Verdict { decision: Decision::Report, reason }
    }

    fn push_event(&mut self, event: Event) {
        if self.events.len() < self.max_events {
            self.events.push_back(event);
        } else {
            self.statistics.events_lost += 1;
        }
    }

    /// Returns the time at which to call [`handle_timeout`](Self::handle_timeout), if
    /// necessary. Any other call may change it.
    pub fn poll_timeout(&self) -> Option<Instant> {
        [self.suppressed.due, self.responses.deadline()].into_iter().flatten().min()
    }

    /// Performs the actions that are due: ends responses without an outcome, and queues
    /// the summaries of suppressed events. An early call has no effect.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        self.expire_responses();
        if self.suppressed.due.is_some_and(|due| due <= self.now) {
            self.summarize();
        }
    }

    /// Returns the next event, oldest first. At most [`Limits::events`] events wait in
    /// memory until they are taken.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Returns the next effect, oldest first. Each needs one call of
    /// [`handle_outcome`](Self::handle_outcome), [`refuse`](Self::refuse) or
    /// [`prevent`](Self::prevent), within [`Limits::response_timeout`].
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Replaces the rules. Keeps the counters, the blocked set and the responses in
    /// progress.
    pub fn set_policy(&mut self, policy: Policy) {
        // The new limit may be higher, so responses are allowed again.
        self.rate.shut_until(Instant::default());
        self.responses.allow_all();
        if policy.block_rate > 0 {
            self.forget_external_limit();
        }
        self.trigger_window = Window::sliding(policy.trigger_window);
        self.change_served_grace(policy.served_grace);
        self.policy = policy;
        self.lookups.invalidate_all(&mut self.sources);
    }

    /// Returns the current rules.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Returns the counts of the decisions so far, and the fill levels of the tables.
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

    /// Sets the time of the engine, which never goes back.
    fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }
}

const fn dropped(reason: Reason) -> Verdict {
    Verdict { decision: Decision::Drop, reason }
}

#[cfg(test)]
mod tests;
