//! Responses in progress and failed responses, on lists.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use portsentry_core::{Limits, Observation, Outcome, PreventionScope, Protocol, Reason};

/// Responses of the model.
pub(crate) struct Responses {
    limits: Limits,
    under_way: Vec<UnderWay>,
    failed: Vec<Failed>,
    /// All responses are prevented until this time.
    pub(crate) prevented_until: Duration,
    /// The second of each response that counts for the rate.
    started: Vec<u64>,
    /// The second in which the rate was asked last.
    asked: u64,
    serial: u64,
    /// Responses to be handed out: number and probe.
    pub(crate) wanted: VecDeque<(u64, Observation)>,
}

/// A response in progress. Its first probe triggered it; the others wait.
struct UnderWay {
    serial: u64,
    started: Duration,
    failures: u32,
    /// Whether an earlier response to the host succeeded in part.
    incomplete: bool,
    /// Whether the first probe is reported already.
    reported: bool,
    probes: Vec<Observation>,
}

/// A host whose last response failed, in whole or in part, or was prevented.
struct Failed {
    host: IpAddr,
    failures: u32,
    incomplete: bool,
    retry_at: Duration,
    /// Whether it was prevented, and for which port; all ports if there is none.
    prevented: Option<Option<(Protocol, u16)>>,
}

fn port_of(probe: &Observation) -> (Protocol, u16) {
    (probe.protocol(), probe.target_port)
}

impl UnderWay {
    fn host(&self) -> IpAddr {
        self.probes[0].source
    }
}

impl Responses {
    pub(crate) fn new(limits: &Limits) -> Self {
        let (under_way, failed) = (Vec::new(), Vec::new());
        let (started, wanted) = (Vec::new(), VecDeque::new());
        let (prevented_until, asked, serial) = (Duration::ZERO, 0, 0);
        let limits = limits.clone();
        Self { limits, under_way, failed, prevented_until, started, asked, serial, wanted }
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    pub(crate) fn waiting(&self) -> usize {
        self.under_way.iter().map(|response| response.probes.len() - 1).sum()
    }

    /// Starts a response, or returns the reason why it is not started.
    pub(crate) fn admit(
        &mut self,
        probe: &Observation,
        reported: bool,
        now: Duration,
        rate: u32,
    ) -> Reason {
        let room_to_wait = self.waiting() < self.limits.waiting;
        if let Some(known) = self.under_way.iter_mut().find(|known| known.host() == probe.source) {
            if !room_to_wait {
                return Reason::Overloaded;
            }
            known.probes.push(*probe);
            return Reason::Responding;
        }
        let failed = self.failed.iter().position(|failed| failed.host == probe.source);
        if let Some(failed) = failed.map(|failed| &self.failed[failed])
            && now < failed.retry_at
        {
            match failed.prevented {
                None => return Reason::RetryLater,
                Some(port) if port.is_none_or(|port| port == port_of(probe)) => {
                    return Reason::Prevented;
                }
                Some(_) => {}
            }
        }
        if now < self.prevented_until {
            return Reason::Prevented;
        }
        if self.under_way.len() >= self.limits.responses {
            return Reason::Overloaded;
        }
        self.asked = now.as_secs();
        let recent = self.started.iter().filter(|started| now.as_secs() - **started < 60).count();
        if rate > 0 && recent >= rate as usize {
            return Reason::RateLimited;
        }
        let (failures, incomplete) = failed.map_or((0, false), |failed| {
            let failed = self.failed.remove(failed);
            (failed.failures, failed.incomplete)
        });
        self.started.push(now.as_secs());
        self.serial += 1;
        let serial = self.serial;
        let probes = vec![*probe];
        let under_way = UnderWay { serial, started: now, failures, incomplete, reported, probes };
        self.under_way.push(under_way);
        self.wanted.push_back((serial, *probe));
        Reason::Triggered
    }

    /// When the oldest response under way has been without an outcome for too long.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let timeout = self.limits.response_timeout?;
        Some(self.under_way.first()?.started.saturating_add(timeout))
    }

    /// The oldest response under way, if its deadline has passed. It is withdrawn if it
    /// was not handed out.
    pub(crate) fn overdue(&mut self, now: Duration) -> Option<u64> {
        let serial = self.under_way.first()?.serial;
        self.deadline().filter(|deadline| *deadline <= now)?;
        self.wanted.retain(|(wanted, _)| *wanted != serial);
        Some(serial)
    }

    /// Forgets that the last response to this host failed.
    pub(crate) fn forget_failure(&mut self, host: IpAddr) -> bool {
        let before = self.failed.len();
        self.failed.retain(|failed| failed.host != host);
        self.failed.len() < before
    }

    /// Returns whether a response to `host` succeeded in part, and the rest is due.
    pub(crate) fn is_due_to_complete(&self, host: IpAddr, now: Duration) -> bool {
        let mut failed = self.failed.iter();
        failed.any(|failed| failed.host == host && failed.incomplete && failed.retry_at <= now)
    }

    /// Ends a response and returns its host, whether its first probe is reported, and its probes. Returns `None` if it is not in
    /// progress.
    pub(crate) fn end(
        &mut self,
        serial: u64,
        outcome: Outcome,
        now: Duration,
    ) -> Option<(IpAddr, bool, Vec<Observation>)> {
        let position = self.under_way.iter().position(|response| response.serial == serial)?;
        let response = self.under_way.remove(position);
        let host = response.host();
        if outcome != Outcome::Succeeded {
            let failures = response.failures + 1;
            // 5 s, 10 s, 20 s ... up to an hour.
            let seconds = (0..failures - 1).fold(5, |seconds, _| 3600.min(2 * seconds));
            let retry_at = now + Duration::from_secs(seconds);
            let incomplete = response.incomplete || outcome == Outcome::Partial;
            self.postpone(Failed { host, failures, incomplete, retry_at, prevented: None });
        }
        Some((host, response.reported, response.probes))
    }

    fn postpone(&mut self, failed: Failed) {
        self.failed.push(failed);
        self.failed.sort_by_key(|failed| (failed.retry_at, failed.host));
        let surplus = self.failed.len().saturating_sub(self.limits.failed);
        self.failed.drain(..surplus);
    }

    /// Cancels a response that must not happen, and prevents others in `scope` until `until`.
    /// Returns whether its first probe is reported, and its probes. Returns `None` if it is not in
    /// progress.
    pub(crate) fn prevent(
        &mut self,
        serial: u64,
        scope: PreventionScope,
        until: Duration,
        now: Duration,
    ) -> Option<(bool, Vec<Observation>)> {
        let position = self.under_way.iter().position(|response| response.serial == serial)?;
        let response = self.under_way.remove(position);
        let (host, failures, incomplete) =
            (response.host(), response.failures, response.incomplete);
        let failed = Failed { host, failures, incomplete, retry_at: now, prevented: None };
        let port = Some(port_of(&response.probes[0])).filter(|_| !response.reported);
        let (retry_at, prevented) = (until, Some(port));
        match scope {
            PreventionScope::Port => self.postpone(Failed { retry_at, prevented, ..failed }),
            PreventionScope::Host => {
                self.postpone(Failed { retry_at, prevented: Some(None), ..failed });
            }
            _ => {
                self.prevented_until = self.prevented_until.max(until);
                if failures > 0 {
                    self.postpone(failed);
                }
            }
        }
        // It does not count for the rate.
        if self.started.last().is_some_and(|started| self.asked - started < 60) {
            self.started.pop();
        }
        Some((response.reported, response.probes))
    }

    /// Abandons everything. Returns the number of responses in progress, and their probes by
    /// host.
    pub(crate) fn abandon(&mut self) -> (usize, Vec<Observation>) {
        let mut under_way = std::mem::take(&mut self.under_way);
        under_way.sort_by_key(UnderWay::host);
        self.failed.clear();
        self.wanted.clear();
        let unreported =
            |response: UnderWay| response.probes.into_iter().skip(usize::from(response.reported));
        (under_way.len(), under_way.into_iter().flat_map(unreported).collect())
    }
}
