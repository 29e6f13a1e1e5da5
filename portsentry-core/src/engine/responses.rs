//! Responses under way, and hosts whose last one failed.
//!
//! There is never more than one response to a host at a time. Probes of a host
//! that come while one is under way wait here, in order; how many may wait in
//! all is bounded.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use core::net::IpAddr;
use core::time::Duration;

use super::Limits;
use super::rate_limit::RateLimit;
use crate::{Instant, Observation, Reason};

/// The wait after a first failure; it doubles with every further one.
const FIRST_RETRY: Duration = Duration::from_secs(5);
/// The longest wait.
const LAST_RETRY: Duration = Duration::from_secs(3600);

/// Something the engine wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Effect {
    /// Respond to a host. The caller does what its configuration says and
    /// answers with [`Engine::handle_outcome`](crate::Engine::handle_outcome).
    Respond(Response),
}

/// A response to be given to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Response {
    /// Names this response in its outcome.
    pub id: ResponseId,
    /// The probe that is responded to; its source is the host.
    pub probe: Observation,
}

/// Names a response that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ResponseId {
    serial: u64,
    host: IpAddr,
}

impl ResponseId {
    /// The host that is responded to.
    pub const fn host(self) -> IpAddr {
        self.host
    }
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Outcome {
    /// At least one action worked: the host is dealt with.
    Succeeded,
    /// No action worked: the host may be responded to again later.
    Failed,
}

/// What becomes of a probe that wants a response.
#[derive(Debug)]
pub(super) enum Admission {
    Begun(Response),
    Waits,
    Refused(Reason),
}

#[derive(Debug)]
pub(super) struct Responses {
    hosts: BTreeMap<IpAddr, Host>,
    /// The failed ones of `hosts`, the next to be retried first.
    failed: BTreeSet<(Instant, IpAddr)>,
    under_way: usize,
    waiting: usize,
    serial: u64,
    max_under_way: usize,
    max_waiting: usize,
    max_failed: usize,
}

#[derive(Debug)]
struct Host {
    failures: u32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The first of `probes` is the one responded to.
    Responding {
        serial: u64,
        probes: VecDeque<Observation>,
    },
    Failed {
        retry_at: Instant,
    },
}

impl Responses {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            hosts: BTreeMap::new(),
            failed: BTreeSet::new(),
            under_way: 0,
            waiting: 0,
            serial: 0,
            max_under_way: limits.responses,
            max_waiting: limits.waiting,
            max_failed: limits.failed,
        }
    }

    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// Begins a response to the source of `probe`, or says why not.
    pub(super) fn admit(
        &mut self,
        probe: &Observation,
        now: Instant,
        rate: &mut RateLimit,
        limit: u32,
    ) -> Admission {
        let host = probe.source;
        let mut failures = 0;
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
                State::Failed { .. } => failures = known.failures,
            }
        }
        if self.under_way >= self.max_under_way {
            return Admission::Refused(Reason::Overloaded);
        }
        if !rate.take(now, limit) {
            return Admission::Refused(Reason::RateLimited);
        }
        self.serial += 1;
        self.under_way += 1;
        let serial = self.serial;
        let state = State::Responding { serial, probes: VecDeque::from([*probe]) };
        if let Some(Host { state: State::Failed { retry_at }, .. }) =
            self.hosts.insert(host, Host { failures, state })
        {
            self.failed.remove(&(retry_at, host));
        }
        Admission::Begun(Response { id: ResponseId { serial, host }, probe: *probe })
    }

    /// Ends the response `id`; gives the probe that was responded to and those
    /// that waited, in order. `None` if it is not under way.
    pub(super) fn finish(
        &mut self,
        id: ResponseId,
        outcome: Outcome,
        now: Instant,
    ) -> Option<VecDeque<Observation>> {
        let probes = self.end(id)?;
        let known = self.hosts.get_mut(&id.host)?;
        match outcome {
            Outcome::Succeeded => {
                self.hosts.remove(&id.host);
            }
            Outcome::Failed => {
                known.failures = known.failures.saturating_add(1);
                let retry_at = now.after(retry_delay(known.failures));
                known.state = State::Failed { retry_at };
                self.failed.insert((retry_at, id.host));
                self.forget_failures();
            }
        }
        Some(probes)
    }

    /// Ends the response `id` before anything is known of its host; gives its probes.
    /// `None` if it is not under way.
    fn end(&mut self, id: ResponseId) -> Option<VecDeque<Observation>> {
        let known = self.hosts.get_mut(&id.host)?;
        let State::Responding { serial, probes } = &mut known.state else { return None };
        if *serial != id.serial {
            return None;
        }
        let probes = core::mem::take(probes);
        self.under_way -= 1;
        self.waiting -= probes.len().saturating_sub(1);
        Some(probes)
    }

    /// Takes the response `id` back, as if it had never begun; gives what
    /// [`finish`](Self::finish) gives.
    pub(super) fn refuse(&mut self, id: ResponseId, now: Instant) -> Option<VecDeque<Observation>> {
        let probes = self.end(id)?;
        let known = self.hosts.get_mut(&id.host)?;
        if known.failures == 0 {
            self.hosts.remove(&id.host);
        } else {
            // It was due, and still is.
            known.state = State::Failed { retry_at: now };
            self.failed.insert((now, id.host));
            self.forget_failures();
        }
        Some(probes)
    }

    fn forget_failures(&mut self) {
        while self.failed.len() > self.max_failed {
            if let Some((_, host)) = self.failed.pop_first() {
                self.hosts.remove(&host);
            }
        }
    }

    /// Gives up all responses under way: their number, and every probe that
    /// waits, in order of host and arrival.
    pub(super) fn abandon(&mut self) -> (usize, VecDeque<Observation>) {
        let mut probes = VecDeque::new();
        for host in core::mem::take(&mut self.hosts).into_values() {
            if let State::Responding { probes: waiting, .. } = host.state {
                probes.extend(waiting);
            }
        }
        self.failed.clear();
        self.waiting = 0;
        (core::mem::take(&mut self.under_way), probes)
    }
}

/// Doubles from [`FIRST_RETRY`] to [`LAST_RETRY`].
fn retry_delay(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    (FIRST_RETRY * (1 << doublings)).min(LAST_RETRY)
}
