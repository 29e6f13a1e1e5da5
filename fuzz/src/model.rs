//! The decision, on lists, in the words of the contract.
//!
//! The model is slow and simple by design: the rules have the order of the contract, and
//! nothing is stored that can be computed.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

use portsentry_core::{
    Decision, Event, Evidence, Instant, Limits, Observation, Outcome, PreventionScope, Protocol,
    Reason, TcpFlags, Verdict,
};

use crate::Rules;
use crate::responses::Responses;
use crate::served::{Served, Socket};

/// Shortest time between two lines about one source and served port, or two summaries.
const MINUTE: Duration = Duration::from_secs(60);

/// Model of an engine.
pub(crate) struct Model {
    rules: Rules,
    served: Served,
    pub(crate) events: VecDeque<Event>,
    pub(crate) responses: Responses,
    pub(crate) sources: Counters,
    pub(crate) blocked: Blocked,
    pub(crate) summary_due: Option<Duration>,
    /// Number of decisions for each reason, with the reasons of outcomes.
    pub(crate) reasons: Vec<u64>,
    pub(crate) observations: u64,
    pub(crate) timed_out: u64,
    served_log: Counters,
    now: Duration,
    held_back: u64,
    rate_limited: u64,
    overloaded: u64,
}

impl Model {
    pub(crate) fn new(rules: Rules, limits: &Limits) -> Self {
        Self {
            rules,
            served: Served::default(),
            events: VecDeque::new(),
            responses: Responses::new(limits),
            sources: Counters::new(limits.sources, true),
            blocked: Blocked { cap: limits.blocked, hosts: Vec::new(), forgotten: 0 },
            summary_due: None,
            reasons: vec![0; Reason::ALL.len()],
            observations: 0,
            timed_out: 0,
            served_log: Counters::new(limits.served_lines, false),
            now: Duration::ZERO,
            held_back: 0,
            rate_limited: 0,
            overloaded: 0,
        }
    }

    pub(crate) fn set_rules(&mut self, rules: &Rules) {
        if rules.served_grace != self.rules.served_grace {
            self.served.forget_expired(self.now, self.rules.served_grace);
        }
        self.rules = rules.clone();
        self.responses.prevented_until = Duration::ZERO;
    }

    pub(crate) fn set_served(&mut self, sockets: &[Socket], taken_at: Duration) {
        self.served.set(sockets, self.now.max(taken_at), self.rules.served_grace);
    }

    pub(crate) fn observe(&mut self, probe: &Observation, now: Duration) -> Verdict {
        self.advance(now);
        // One host has one address.
        let mut canonical = *probe;
        canonical.target = probe.target.to_canonical();
        // A mapped source that sends to an IPv6 address is no host.
        if canonical.target.is_ipv4() || canonical.target.is_unspecified() {
            canonical.source = probe.source.to_canonical();
        }
        let probe = &canonical;
        self.observations += 1;
        let reason = self.decide(probe);
        self.reasons[reason as usize] += 1;
        let decision = match reason {
            Reason::NotOpener | Reason::NotMonitored | Reason::Served => Decision::Drop,
            Reason::Triggered => Decision::Respond,
            Reason::Responding => Decision::Wait,
            _ => Decision::Report,
        };
        if decision == Decision::Report {
            self.report(probe, reason);
        }
        Verdict::new(decision, reason)
    }

    fn decide(&mut self, probe: &Observation) -> Reason {
        let (protocol, source, target) = (protocol(probe), probe.source, probe.target);
        // 1. TCP with ACK or RST set is not a probe.
        if let Evidence::Segment(segment) = probe.evidence
            && segment.flags.bits() & (TcpFlags::ACK.bits() | TcpFlags::RST.bits()) != 0
        {
            return Reason::NotOpener;
        }
        let (ports, blocks) = match protocol {
            Protocol::Tcp => (&self.rules.tcp_ports, self.rules.block_tcp),
            Protocol::Udp => (&self.rules.udp_ports, self.rules.block_udp),
        };
        if probe.target_port == 0 || !ports.contains(&probe.target_port) {
            return Reason::NotMonitored;
        }
        // 2. Service check.
        let grace = self.rules.served_grace;
        if !self.rules.watch_served_ports && self.served.is_served(probe, self.now, grace) {
            self.report_served(probe);
            return Reason::Served;
        }
        // 3. Ignore list.
        if self.rules.ignore.iter().any(|network| network.contains(&source.to_canonical())) {
            return Reason::IgnoreList;
        }
        // 4. Trigger.
        let trigger = self.rules.scan_trigger;
        if trigger > 1
            && self.sources.count(
                source,
                0,
                probe.at.since(Instant::default()),
                self.rules.trigger_window,
            ) < trigger
        {
            return Reason::BelowTrigger;
        }
        // 5. Local check.
        if source == target && !self.rules.respond_to_self {
            return Reason::SameAddress;
        }
        // 6. The source is no host.
        let is_reserved = match source {
            IpAddr::V4(source) => source.octets()[0] == 0 || source.octets()[0] >= 240,
            IpAddr::V6(source) => source.to_ipv4_mapped().is_some(),
        };
        if is_reserved {
            return Reason::ReservedSource;
        }
        // 7. Blocking is off, or the host must never be blocked.
        if !blocks {
            return Reason::LogOnly;
        }
        if self.rules.never_block.iter().any(|network| network.contains(&source)) {
            return Reason::NeverBlock;
        }
        // 8. Already blocked.
        if self.rules.remember_blocked && self.blocked.hosts.contains(&source) {
            // The rest of an incomplete response is requested in addition.
            if self.responses.is_due_to_complete(source, self.now) {
                self.responses.admit(probe, true, self.now, self.rules.block_rate);
            }
            return Reason::AlreadyBlocked;
        }
        // 9. Respond.
        self.respond(probe)
    }

    fn respond(&mut self, probe: &Observation) -> Reason {
        let reason = self.responses.admit(probe, false, self.now, self.rules.block_rate);
        match reason {
            Reason::RateLimited => self.rate_limited += 1,
            Reason::Overloaded => self.overloaded += 1,
            _ => return reason,
        }
        self.summary_due = self.summary_due.or(Some(self.now + MINUTE));
        reason
    }

    fn report_served(&mut self, probe: &Observation) {
        let Observation { source, target_port: port, .. } = *probe;
        if self.served_log.count(source, port, self.now, Some(MINUTE)) == 1 {
            self.events.push_back(Event::served_port(probe));
        } else {
            self.held_back += 1;
            self.summary_due = self.summary_due.or(Some(self.now + MINUTE));
        }
    }

    fn report(&mut self, probe: &Observation, reason: Reason) {
        self.events.push_back(Event::probe(*probe, reason));
    }

    /// Ends the response with this number.
    pub(crate) fn end(&mut self, serial: u64, outcome: Outcome, now: Duration) {
        self.advance(now);
        let succeeded = outcome != Outcome::Failed;
        let whole = match outcome {
            Outcome::Partial if !self.rules.remember_blocked => Outcome::Succeeded,
            outcome => outcome,
        };
        let Some((host, reported, probes)) = self.responses.end(serial, whole, self.now) else {
            return;
        };
        if succeeded && self.rules.remember_blocked {
            self.blocked.add(host);
        }
        for (position, probe) in probes.iter().enumerate().skip(usize::from(reported)) {
            let reason = match (position, succeeded) {
                (0, true) => Reason::Blocked,
                (0, false) => Reason::ResponseFailed,
                (_, true) if self.rules.remember_blocked => Reason::AlreadyBlocked,
                // Each further probe requests a response again, one at a time.
                (_, true) => self.respond(probe),
                (_, false) => Reason::RetryLater,
            };
            self.reasons[reason as usize] += 1;
            if !matches!(reason, Reason::Triggered | Reason::Responding) {
                self.report(probe, reason);
            }
        }
    }

    /// Prevents the response with this number, and others in `scope` until `until`.
    pub(crate) fn prevent(
        &mut self,
        serial: u64,
        scope: PreventionScope,
        until: Duration,
        now: Duration,
    ) {
        self.advance(now);
        let prevented = self.responses.prevent(serial, scope, until, self.now);
        let Some((reported, probes)) = prevented else { return };
        for (position, probe) in probes.iter().enumerate().skip(usize::from(reported)) {
            let reason = if position == 0 { Reason::Prevented } else { self.respond(probe) };
            self.reasons[reason as usize] += 1;
            if !matches!(reason, Reason::Triggered | Reason::Responding) {
                self.report(probe, reason);
            }
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        while let Some(serial) = self.responses.overdue(self.now) {
            self.timed_out += 1;
            self.end(serial, Outcome::Failed, now);
        }
        if self.summary_due.is_some_and(|due| due <= self.now) {
            self.summarize();
        }
    }

    fn summarize(&mut self) {
        self.summary_due = None;
        let (packets, probes) = (std::mem::take(&mut self.held_back), &mut self.rate_limited);
        let (probes, overloaded) = (std::mem::take(probes), std::mem::take(&mut self.overloaded));
        let limit = self.rules.block_rate;
        let lines = [
            (packets, Event::served_port_suppressed(packets)),
            (probes, Event::rate_limited(probes, limit)),
            (overloaded, Event::overloaded(overloaded)),
        ];
        self.events.extend(lines.into_iter().filter(|(count, _)| *count > 0).map(|(_, e)| e));
    }

    pub(crate) fn close(&mut self) -> usize {
        let (under_way, probes) = self.responses.abandon();
        for probe in probes {
            self.reasons[Reason::ResponseFailed as usize] += 1;
            self.report(&probe, Reason::ResponseFailed);
        }
        self.summarize();
        under_way
    }

    /// Forgets a host. Returns whether anything was known of it.
    pub(crate) fn forget(&mut self, host: IpAddr) -> bool {
        let before = self.blocked.hosts.len() + self.sources.entries.len();
        self.blocked.hosts.retain(|other| *other != host);
        self.sources.entries.retain(|entry| entry.source != host);
        let after = self.blocked.hosts.len() + self.sources.entries.len();
        self.responses.forget_failure(host) || after < before
    }

    /// When the engine should be called, if at all.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.summary_due.into_iter().chain(self.responses.deadline()).min()
    }

    /// Advances the clock, which never goes back.
    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }
}

fn protocol(probe: &Observation) -> Protocol {
    match probe.evidence {
        Evidence::Datagram | Evidence::Message => Protocol::Udp,
        _ => Protocol::Tcp,
    }
}

/// Counters of probes, and the rule that chooses the one to evict.
pub(crate) struct Counters {
    capacity: usize,
    /// Whether each probe extends the window.
    prolongs: bool,
    pub(crate) entries: Vec<Counter>,
    pub(crate) evicted: u64,
}

/// Source, port, number of probes, and the second in which the window starts.
pub(crate) struct Counter {
    source: IpAddr,
    port: u16,
    count: u16,
    second: u64,
}

impl Counters {
    fn new(capacity: usize, prolongs: bool) -> Self {
        Self { capacity, prolongs, entries: Vec::new(), evicted: 0 }
    }

    fn count(&mut self, source: IpAddr, port: u16, now: Duration, window: Option<Duration>) -> u16 {
        let (second, prolongs) = (now.as_secs(), self.prolongs);
        let mut entries = self.entries.iter_mut();
        if let Some(entry) = entries.find(|entry| (entry.source, entry.port) == (source, port)) {
            if window.is_some_and(|it| second.saturating_sub(entry.second) >= it.as_secs()) {
                (entry.count, entry.second) = (0, second);
            } else if prolongs {
                // The time never goes back.
                entry.second = second.max(entry.second);
            }
            entry.count += 1;
            return entry.count;
        }
        let entry = Counter { source, port, count: 1, second };
        if self.entries.len() < self.capacity {
            self.entries.push(entry);
        } else {
            // Evicts the lowest count, then the longest unseen, then the first in the list.
            let entries = self.entries.iter_mut();
            if let Some(victim) = entries.min_by_key(|entry| (entry.count, entry.second)) {
                *victim = entry;
                self.evicted += 1;
            }
        }
        1
    }
}

/// Blocked hosts, oldest first, at most `cap` of each family.
pub(crate) struct Blocked {
    cap: usize,
    pub(crate) hosts: Vec<IpAddr>,
    pub(crate) forgotten: u64,
}

impl Blocked {
    pub(crate) fn add(&mut self, host: IpAddr) {
        if self.hosts.contains(&host) {
            return;
        }
        let is_kin = |other: &IpAddr| other.is_ipv4() == host.is_ipv4();
        if self.hosts.iter().copied().filter(is_kin).count() == self.cap
            && let Some(oldest) = self.hosts.iter().position(is_kin)
        {
            self.hosts.remove(oldest);
            self.forgotten += 1;
        }
        self.hosts.push(host);
    }
}
