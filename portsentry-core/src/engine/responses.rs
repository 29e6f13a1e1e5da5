//! Responses in progress, and hosts whose last response failed or was prevented.
//!
//! There is at most one response to a host at a time. Probes of the host that arrive
//! meanwhile wait here, in order. The number of waiting probes is bounded.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::IpAddr;
use core::time::Duration;

use super::Limits;
use super::rate_limit::RateLimit;
use super::response::{Outcome, PreventionScope, Response, ResponseId};
use crate::{Instant, Observation, Protocol, Reason};

/// The delay after the first failure. It doubles with each further failure.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest delay.
const LAST_RETRY: Duration = Duration::from_secs(3600);

/// The result for a probe that triggers a response.
#[derive(Debug)]
pub(super) enum Admission {
    Started(Response),
    Waits,
    Refused(Reason),
}

/// A response that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) host: IpAddr,
    /// Whether the probe that caused it is reported already.
    pub(super) reported: bool,
    /// That probe, unless it is reported, and the probes that waited, in order.
    pub(super) probes: VecDeque<Observation>,
}

#[derive(Debug)]
pub(super) struct Responses {
    hosts: BTreeMap<IpAddr, Host>,
    /// The hosts whose last response failed or was prevented, ordered by the time of the
    /// retry.
    failed: BTreeSet<(Instant, IpAddr)>,
    /// The time until which all responses are prevented.
    prevented_until: Instant,
    /// Host and start of each response in progress.
    under_way: BTreeMap<ResponseId, (IpAddr, Instant)>,
    /// Responses in progress in the order of their start, and some that have ended.
    started: VecDeque<ResponseId>,
    waiting: usize,
    next_id: u64,
    id_step: u64,
    timeout: Option<Duration>,
    max_under_way: usize,
    max_waiting: usize,
    max_failed: usize,
}

#[derive(Debug)]
struct Host {
    failures: u32,
    /// Whether some actions of a response succeeded and others failed.
    incomplete: bool,
    state: State,
}

#[derive(Debug)]
enum State {
    Responding {
        /// The probe that caused the response, unless it is `reported`, and those that wait.
        probes: VecDeque<Observation>,
        /// Whether the probe that caused the response is reported already.
        reported: bool,
    },
    Failed {
        retry_at: Instant,
    },
    Prevented {
        retry_at: Instant,
        /// The port that this concerns; `None` for all.
        port: Option<(Protocol, u16)>,
    },
}

impl State {
    /// Returns the time before which no response to the host starts.
    const fn retry_at(&self) -> Option<Instant> {
        match self {
            Self::Responding { .. } => None,
            Self::Failed { retry_at } | Self::Prevented { retry_at, .. } => Some(*retry_at),
        }
    }
}

impl Responses {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            hosts: BTreeMap::new(),
            failed: BTreeSet::new(),
            prevented_until: Instant::default(),
            under_way: BTreeMap::new(),
            started: VecDeque::new(),
            waiting: 0,
            next_id: 1,
            id_step: 1,
            timeout: limits.response_timeout,
            max_under_way: limits.responses,
            max_waiting: limits.waiting,
            max_failed: limits.failed,
        }
    }

    /// Sets the number of the next response, and the step between numbers.
    pub(super) fn number_from(&mut self, first: u64, step: u64) {
        (self.next_id, self.id_step) = (first, step);
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Returns whether the last response to `host` is incomplete, and it is time to complete it.
    pub(super) fn is_due_to_complete(&self, host: IpAddr, now: Instant) -> bool {
        let is_due = |state: &State| state.retry_at().is_some_and(|retry_at| retry_at <= now);
        self.hosts.get(&host).is_some_and(|host| host.incomplete && is_due(&host.state))
    }

    /// Starts a response to the source of `probe`, or returns the reason why not. The event of the
    /// probe is `reported` already, or follows the outcome.
    pub(super) fn admit(
        &mut self,
        probe: &Observation,
        reported: bool,
        now: Instant,
        rate: &mut RateLimit,
        limit: u32,
    ) -> Admission {
        let host = probe.source;
        let (mut failures, mut incomplete) = (0, false);
        if let Some(known) = self.hosts.get_mut(&host) {
            match &mut known.state {
                State::Responding { .. } if self.waiting >= self.max_waiting => {
                    return Admission::Refused(Reason::Overloaded);
                }
                State::Responding { probes, .. } => {
                    probes.push_back(*probe);
                    self.waiting += 1;
                    return Admission::Waits;
                }
                State::Failed { retry_at } if now < *retry_at => {
                    return Admission::Refused(Reason::RetryLater);
                }
                State::Prevented { retry_at, port }
                    if now < *retry_at && port.is_none_or(|port| port == port_of(probe)) =>
                {
                    return Admission::Refused(Reason::Prevented);
                }
                State::Failed { .. } | State::Prevented { .. } => {
                    (failures, incomplete) = (known.failures, known.incomplete);
                }
            }
        }
        if now < self.prevented_until {
            return Admission::Refused(Reason::Prevented);
        }
        if self.under_way.len() >= self.max_under_way {
            return Admission::Refused(Reason::Overloaded);
        }
        if !rate.take(now, limit) {
            return Admission::Refused(Reason::RateLimited);
        }
        let id = ResponseId::from_u64(self.next_id);
        self.next_id = self.next_id.wrapping_add(self.id_step);
        self.under_way.insert(id, (host, now));
        self.started.push_back(id);
        let probes = if reported { VecDeque::new() } else { VecDeque::from([*probe]) };
        let state = State::Responding { probes, reported };
        let before = self.hosts.insert(host, Host { failures, incomplete, state });
        if let Some(retry_at) = before.and_then(|before| before.state.retry_at()) {
            self.failed.remove(&(retry_at, host));
        }
        Admission::Started(Response::new(id, *probe))
    }

    /// Returns the time at which the oldest response in progress times out.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let (_, started) = self.under_way.get(self.started.front()?)?;
        Some(started.after(self.timeout?))
    }

    /// Returns the oldest response in progress, if it has timed out.
    pub(super) fn overdue(&self, now: Instant) -> Option<ResponseId> {
        self.deadline().filter(|deadline| *deadline <= now).and(self.started.front().copied())
    }

    /// Removes the failure of the last response to `host`, or the record that it was
    /// prevented. Returns false if there is none.
    pub(super) fn forget_failure(&mut self, host: IpAddr) -> bool {
        match self.hosts.get(&host).and_then(|host| host.state.retry_at()) {
            Some(retry_at) => {
                self.failed.remove(&(retry_at, host));
                self.hosts.remove(&host);
                true
            }
            None => false,
        }
    }

    /// Ends the response `id`. Unless the outcome is a success, another response to the host can
    /// start after a delay. Returns `None` if it is not in progress.
    pub(super) fn finish(
        &mut self,
        id: ResponseId,
        outcome: Outcome,
        now: Instant,
    ) -> Option<Finished> {
        let finished = self.end(id)?;
        let host = finished.host;
        if outcome == Outcome::Succeeded {
            self.hosts.remove(&host);
        } else {
            let known = self.hosts.get_mut(&host)?;
            known.incomplete |= outcome == Outcome::Partial;
            known.failures = known.failures.saturating_add(1);
            let retry_at = now.after(retry_delay(known.failures));
            self.postpone(host, retry_at, State::Failed { retry_at });
        }
        Some(finished)
    }

    /// Cancels the response `id`, as if it had never started. Returns its probes, in order.
    pub(super) fn refuse(&mut self, id: ResponseId, now: Instant) -> Option<VecDeque<Observation>> {
        let Finished { host, probes, .. } = self.end(id)?;
        self.restore(host, now);
        Some(probes)
    }

    /// Cancels the response `id` because it must not happen, and does not start another one
    /// in `scope` until `until`.
    pub(super) fn prevent(
        &mut self,
        id: ResponseId,
        scope: PreventionScope,
        until: Instant,
        now: Instant,
    ) -> Option<Finished> {
        let finished = self.end(id)?;
        let Finished { host, reported, probes } = &finished;
        let port = match scope {
            PreventionScope::AllHosts => {
                self.prevented_until = self.prevented_until.max(until);
                self.restore(*host, now);
                return Some(finished);
            }
            // The port of a probe that is reported already is not known any more.
            PreventionScope::Port if !reported => probes.front().map(port_of),
            PreventionScope::Port | PreventionScope::Host => None,
        };
        self.postpone(*host, until, State::Prevented { retry_at: until, port });
        Some(finished)
    }

    /// Allows responses that were prevented for all hosts.
    pub(super) fn allow_all(&mut self) {
        self.prevented_until = Instant::default();
    }

    /// Restores the state of `host` before a response that was cancelled.
    fn restore(&mut self, host: IpAddr, now: Instant) {
        if self.hosts.get(&host).is_some_and(|host| host.failures == 0) {
            self.hosts.remove(&host);
        } else {
            // The retry was due, and is due again.
            self.postpone(host, now, State::Failed { retry_at: now });
        }
    }

    /// Removes the response `id`, without a change of the state of its host.
    fn end(&mut self, id: ResponseId) -> Option<Finished> {
        let (host, _) = self.under_way.remove(&id)?;
        while self.started.front().is_some_and(|id| !self.under_way.contains_key(id)) {
            self.started.pop_front();
        }
        // Responses that ended out of order, at most as many as are in progress.
        if self.started.len() > 2 * self.under_way.len() {
            self.started.retain(|id| self.under_way.contains_key(id));
        }
        let State::Responding { probes, reported } = &mut self.hosts.get_mut(&host)?.state else {
            return None;
        };
        let (probes, reported) = (core::mem::take(probes), *reported);
        self.waiting -= probes.len().saturating_sub(usize::from(!reported));
        Some(Finished { host, reported, probes })
    }

    /// Sets the state of `host`, whose response has ended.
    fn postpone(&mut self, host: IpAddr, retry_at: Instant, state: State) {
        if let Some(known) = self.hosts.get_mut(&host) {
            known.state = state;
            self.failed.insert((retry_at, host));
            self.forget_failures();
        }
    }

    fn forget_failures(&mut self) {
        while self.failed.len() > self.max_failed {
            if let Some((_, host)) = self.failed.pop_first() {
                self.hosts.remove(&host);
            }
        }
    }

    /// Cancels all responses in progress. Returns their number, and all waiting probes, in
    /// the order of hosts and arrival.
    pub(super) fn abandon(&mut self) -> (usize, VecDeque<Observation>) {
        let mut probes = VecDeque::new();
        for host in core::mem::take(&mut self.hosts).into_values() {
            if let State::Responding { probes: waiting, .. } = host.state {
                probes.extend(waiting);
            }
        }
        self.failed.clear();
        self.started.clear();
        self.waiting = 0;
        (core::mem::take(&mut self.under_way).len(), probes)
    }
}

fn port_of(probe: &Observation) -> (Protocol, u16) {
    (probe.protocol(), probe.target_port)
}

/// Returns the delay before a retry, which doubles from [`FIRST_RETRY`] to [`LAST_RETRY`].
fn retry_delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_RETRY * (1 << doublings)).min(LAST_RETRY)
}
