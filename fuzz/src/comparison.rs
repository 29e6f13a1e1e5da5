//! Applies a script to the engine and to the model, and compares them.

use std::net::IpAddr;
use std::time::Duration;

use portsentry_core::{
    Decision, Effect, Engine, Event, HashKey, Instant, Observation, Reason, ResponseId,
};

use crate::model::Model;
use crate::script::served_ports;
use crate::{Operation, Script};

/// Applies the script in `bytes` to the engine and to the model.
///
/// The engine gets the packets one by one. A second engine gets them in batches and has
/// another hash key, which must not make a difference.
///
/// # Panics
///
/// Panics at the first difference.
pub fn replay(bytes: &[u8]) {
    let script = Script::read(bytes);
    let mut comparison = Comparison::new(&script);
    for (index, operation) in script.operations.iter().enumerate() {
        comparison.apply(operation);
        comparison.check(index, operation);
    }
    comparison.close();
}

struct Comparison {
    engine: Engine,
    model: Model,
    now: Duration,
    /// Ids of the responses in the order in which they were handed out, in the engine and in
    /// the model.
    handed_out: Vec<(ResponseId, u64)>,
    batched: Engine,
    /// Observations that the batched engine has not received yet.
    pending: Vec<Observation>,
    /// Events that the batched engine must return.
    expected_events: Vec<Event>,
    /// Number of probes so far.
    probes: usize,
    /// Number of events about probes so far.
    probes_reported: usize,
}

impl Comparison {
    fn new(script: &Script) -> Self {
        let Script { limits, rules, key, .. } = script;
        let engine = |key| Engine::new(rules.policy(), limits, HashKey::new(key));
        Self {
            engine: engine(u128::from(*key)),
            model: Model::new(rules.clone(), limits),
            now: Duration::from_secs(1_000),
            handed_out: Vec::new(),
            batched: engine(!u128::from(*key)),
            pending: Vec::new(),
            expected_events: Vec::new(),
            probes: 0,
            probes_reported: 0,
        }
    }

    fn apply(&mut self, operation: &Operation) {
        let now = instant(self.now);
        if let Operation::Observe(observation) = operation {
            let observation = &observation.at(now);
            self.pending.push(*observation);
            let verdict = self.engine.observe(observation, now);
            assert_eq!(verdict, self.model.observe(observation, self.now), "{observation:?}");
            self.probes += usize::from(verdict.decision != Decision::Drop);
            return;
        }
        self.flush();
        match operation {
            Operation::Observe(_) => {}
            Operation::Wait(Some(wait)) => self.now += *wait,
            Operation::Wait(None) => self.now = self.now.saturating_sub(Duration::from_secs(1)),
            Operation::TakeEffect => self.take_effect(),
            Operation::End(number, outcome) => {
                let count = self.handed_out.len().max(1);
                if let Some(&(id, serial)) = self.handed_out.get(number % count) {
                    self.engine.handle_outcome(id, *outcome, now);
                    self.batched.handle_outcome(id, *outcome, now);
                    self.model.end(serial, *outcome, self.now);
                }
            }
            Operation::Prevent(number, scope, time) => {
                let count = self.handed_out.len().max(1);
                if let Some(&(id, serial)) = self.handed_out.get(number % count) {
                    let until = self.now + *time;
                    self.engine.prevent(id, *scope, instant(until), now);
                    self.batched.prevent(id, *scope, instant(until), now);
                    self.model.prevent(serial, *scope, until, self.now);
                }
            }
            Operation::HandleTimeout => {
                self.engine.handle_timeout(now);
                self.batched.handle_timeout(now);
                self.model.handle_timeout(self.now);
            }
            Operation::SetRules(rules) => {
                self.engine.set_policy(rules.policy());
                self.batched.set_policy(rules.policy());
                self.model.set_rules(rules);
            }
            Operation::SetServed(sockets) => {
                self.engine.set_served_ports(served_ports(sockets).taken_at(now));
                self.batched.set_served_ports(served_ports(sockets).taken_at(now));
                self.model.set_served(sockets, self.now);
            }
            Operation::RestoreBlocked(host) => {
                self.engine.restore_blocked([*host]);
                self.batched.restore_blocked([*host]);
                self.model.blocked.add(*host);
            }
            Operation::Forget(host) => {
                let known = self.model.forget(*host);
                assert_eq!(self.engine.forget(*host), known, "{host}");
                assert_eq!(self.batched.forget(*host), known, "{host}");
            }
        }
    }

    fn take_effect(&mut self) {
        let effect = self.engine.poll_effect();
        assert_eq!(effect, self.batched.poll_effect());
        match (effect, self.model.responses.wanted.pop_front()) {
            (Some(Effect::Respond(response)), Some((serial, probe))) => {
                assert_eq!(response.probe, probe);
                self.handed_out.push((response.id, serial));
            }
            (None, None) => {}
            different => panic!("effects differ: {different:?}"),
        }
    }

    /// Passes the pending observations to the batched engine, and compares the results.
    fn flush(&mut self) {
        self.batched.observe_batch(&self.pending, instant(self.now));
        self.pending.clear();
        let events: Vec<_> = std::iter::from_fn(|| self.batched.poll_event()).collect();
        assert_eq!(events, std::mem::take(&mut self.expected_events));
        assert_eq!(self.engine.statistics(), self.batched.statistics());
    }

    /// Compares everything that is visible from outside.
    fn check(&mut self, index: usize, operation: &Operation) {
        let events: Vec<_> = std::iter::from_fn(|| self.engine.poll_event()).collect();
        let expected: Vec<_> = self.model.events.drain(..).collect();
        assert_eq!(events, expected, "events of operation {index}, {operation:?}");
        self.probes_reported += probes_in(&events);
        self.expected_events.extend(events);

        let due = self.model.due().map(instant);
        assert_eq!(self.engine.poll_timeout(), due, "operation {index}, {operation:?}");
        for host in Script::hosts() {
            let expected = self.model.blocked.hosts.contains(&host);
            assert_eq!(self.engine.is_blocked(host), expected, "{host} at {index}, {operation:?}");
        }
        let [v4, v6]: [Vec<IpAddr>; 2] = [IpAddr::is_ipv4, IpAddr::is_ipv6]
            .map(|family| self.model.blocked.hosts.iter().copied().filter(family).collect());
        assert!(self.engine.blocked().eq(v4.into_iter().chain(v6)), "{index}, {operation:?}");
        self.check_statistics();
    }

    fn check_statistics(&self) {
        let (found, model) = (self.engine.statistics(), &self.model);
        for &reason in Reason::ALL {
            assert_eq!(found.decided(reason), model.reasons[reason as usize], "{reason:?}");
        }
        assert_eq!(found.observations(), model.observations);
        assert_eq!(found.sources, model.sources.entries.len());
        assert_eq!(found.sources_evicted, model.sources.evicted);
        assert_eq!(found.blocked, model.blocked.hosts.len());
        assert_eq!(found.blocked_forgotten, model.blocked.forgotten);
        assert_eq!(found.responses, model.responses.under_way());
        assert_eq!(found.waiting, model.responses.waiting());
        assert_eq!(found.responses_timed_out, model.timed_out);
        assert_eq!(found.events_lost, 0);
    }

    /// Closes engines and model. By then each probe has had exactly one event.
    fn close(mut self) {
        self.flush();
        assert_eq!(self.engine.close(), self.model.close(), "responses under way at the end");
        let events: Vec<_> = std::iter::from_fn(|| self.engine.poll_event()).collect();
        assert_eq!(events, Vec::from(std::mem::take(&mut self.model.events)), "last events");
        self.check_statistics();
        assert_eq!(
            self.probes_reported + probes_in(&events),
            self.probes,
            "one event for each probe"
        );
        assert_eq!(self.engine.statistics().probes(), self.probes as u64);
    }
}

fn probes_in(events: &[Event]) -> usize {
    events.iter().filter(|event| matches!(event, Event::Probe(_))).count()
}

/// Returns the time of the engine.
fn instant(now: Duration) -> Instant {
    Instant::from_nanos(u64::try_from(now.as_nanos()).unwrap_or(u64::MAX))
}
