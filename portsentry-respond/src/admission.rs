//! Checks of the requests for responses.
//!
//! The engine in the packet process has decided already. The responder decides again, from facts
//! that it reads itself: the configuration, this host's addresses and the clock. An attacker who
//! controls the packet process can therefore block hosts no faster than `BLOCK_RATE`, and never the
//! hosts that this host depends on. Only the responder counts `BLOCK_RATE`.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use portsentry_config::Configuration;
use portsentry_core::{Instant, Limits, Mode, RateLimit, is_reserved_source};
use portsentry_report::Prevented;

use crate::probe_context::ProbeContext;

/// Reason to refuse a request. `Display` completes the log line about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no configuration is in force")]
    NothingInForce,
    #[error("the configuration has no response to this probe")]
    NotConfigured,
    #[error("not the address of a host")]
    NotAHost,
    #[error("{0}")]
    Prevented(Prevented),
    #[error("a response to it is under way")]
    UnderWay,
    #[error("too many responses are under way")]
    TooMany,
    #[error("more than BLOCK_RATE allows")]
    Rate {
        /// Responses per minute.
        limit: u32,
        /// The earliest time at which the next response is possible.
        until: Instant,
    },
}

/// The responses that are running or queued, and their rate.
#[derive(Debug)]
pub(super) struct Admission {
    mode: Mode,
    rate: RateLimit,
    under_way: HashMap<u64, IpAddr>,
    /// The values of `under_way`.
    hosts: HashSet<IpAddr>,
    most: usize,
}

impl Admission {
    /// Returns the admission for a sentry that watches in `mode`.
    pub(super) fn new(mode: Mode) -> Self {
        let most = Limits::default().responses;
        Self {
            mode,
            rate: RateLimit::default(),
            under_way: HashMap::new(),
            hosts: HashSet::new(),
            most,
        }
    }

    /// Admits the response `id` to `probe`, or returns the reason to refuse it. `configuration` is
    /// the current one, `now` is a monotonic time. `check` is called before `BLOCK_RATE` is counted,
    /// because a prevented response must not use it.
    pub(super) fn admit(
        &mut self,
        id: u64,
        probe: &ProbeContext,
        configuration: &Configuration,
        check: impl FnOnce() -> Result<(), Prevented>,
        now: Instant,
    ) -> Result<(), Refusal> {
        if probe.mode != self.mode || !configuration.monitors(probe.protocol, probe.port) {
            return Err(Refusal::NotConfigured);
        }
        if !is_host(probe.target) {
            return Err(Refusal::NotAHost);
        }
        if self.hosts.contains(&probe.target) || self.under_way.contains_key(&id) {
            return Err(Refusal::UnderWay);
        }
        if self.hosts.len() >= self.most {
            return Err(Refusal::TooMany);
        }
        check().map_err(Refusal::Prevented)?;
        let limit = configuration.settings.block_rate;
        if !self.rate.take(now, limit) {
            return Err(Refusal::Rate { limit, until: self.rate.free_at(limit) });
        }
        self.under_way.insert(id, probe.target);
        self.hosts.insert(probe.target);
        Ok(())
    }

    /// Removes the response `id`, which has ended. Returns its host.
    pub(super) fn ended(&mut self, id: u64) -> Option<IpAddr> {
        let host = self.under_way.remove(&id)?;
        self.hosts.remove(&host);
        Some(host)
    }

    /// Removes the response `id`, which was prevented after it was admitted. Returns its host.
    pub(super) fn prevented(&mut self, id: u64) -> Option<IpAddr> {
        let host = self.ended(id)?;
        self.rate.give_back();
        Some(host)
    }
}

/// Returns whether a host can have this address in this form.
fn is_host(address: IpAddr) -> bool {
    !is_reserved_source(address) && !address.is_unspecified() && !address.is_multicast()
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use ipnet::IpNet;
    use portsentry_core::Protocol;
    use portsentry_core::config::Settings;

    use super::*;

    fn probe(host: &str, port: u16) -> ProbeContext {
        let host = SocketAddr::new(host.parse().unwrap(), 40_000);
        let probed = SocketAddr::new([192, 0, 2, 1].into(), port);
        ProbeContext::new(host, probed, Mode::Stealth, Protocol::Tcp)
    }

    /// Prevents responses to one network.
    fn spare(network: &str, host: IpAddr) -> Result<(), Prevented> {
        match network.parse::<IpNet>().unwrap().contains(&host) {
            true => Err(Prevented::Gateway),
            false => Ok(()),
        }
    }

    fn settings(block_rate: u32) -> Configuration {
        let mut settings = Settings::default();
        settings.tcp_ports = [23].into_iter().collect();
        settings.block_rate = block_rate;
        Configuration::new(settings)
    }

    #[test]
    fn only_requests_that_a_probe_can_cause_are_admitted() {
        let check = |probe: ProbeContext, expected: Result<(), Refusal>| {
            let mut admission = Admission::new(Mode::Stealth);
            let now = Instant::from_secs(1);
            let spare = || spare("192.0.2.0/24", probe.target);
            let found = admission.admit(1, &probe, &settings(0), spare, now);
            assert_eq!(found, expected, "{probe:?}");
        };
        check(probe("198.51.100.7", 23), Ok(()));
        check(probe("2001:db8::7", 23), Ok(()));
        check(probe("198.51.100.7", 24), Err(Refusal::NotConfigured));
        let different =
            |mode, protocol| ProbeContext { mode, protocol, ..probe("198.51.100.7", 23) };
        check(different(Mode::Connect, Protocol::Tcp), Err(Refusal::NotConfigured));
        check(different(Mode::Stealth, Protocol::Udp), Err(Refusal::NotConfigured));
        for address in
            ["0.0.0.0", "240.0.0.1", "0.1.2.3", "224.0.0.1", "::", "ff02::1", "::ffff:192.0.2.1"]
        {
            check(probe(address, 23), Err(Refusal::NotAHost));
        }
        check(probe("192.0.2.9", 23), Err(Refusal::Prevented(Prevented::Gateway)));
    }

    #[test]
    fn each_host_has_one_response_and_the_total_is_bounded() {
        let mut admission = Admission::new(Mode::Stealth);
        let admit = |admission: &mut Admission, id: u64, target: &str| {
            let (probe, now) = (probe(target, 23), Instant::from_secs(1));
            admission.admit(id, &probe, &settings(0), || Ok(()), now)
        };
        assert_eq!(admit(&mut admission, 1, "198.51.100.7"), Ok(()));
        assert_eq!(admit(&mut admission, 2, "198.51.100.7"), Err(Refusal::UnderWay));
        assert_eq!(admit(&mut admission, 1, "198.51.100.8"), Err(Refusal::UnderWay));
        assert_eq!(admit(&mut admission, 3, "198.51.100.8"), Ok(()));
        admission.ended(1);
        assert_eq!(admit(&mut admission, 4, "198.51.100.7"), Ok(()));
        let most = Limits::default().responses as u64;
        for id in 5..5 + most - 2 {
            assert_eq!(admit(&mut admission, id, &format!("2001:db8::{id:x}")), Ok(()));
        }
        assert_eq!(admit(&mut admission, 0, "198.51.100.9"), Err(Refusal::TooMany));
    }

    #[test]
    fn no_minute_exceeds_the_rate() {
        let mut admission = Admission::new(Mode::Stealth);
        let settings = settings(60);
        let mut admitted = Vec::new();
        for tenth in 0..3_000_u64 {
            let at = Instant::from_nanos(tenth * 100_000_000);
            let target = std::net::Ipv4Addr::from(0xc633_0000 + tenth as u32).to_string();
            match admission.admit(tenth, &probe(&target, 23), &settings, || Ok(()), at) {
                Ok(()) => admitted.push(at),
                Err(Refusal::Rate { limit, until }) => {
                    assert_eq!(limit, 60);
                    assert!(until > at && until.since(at) <= Duration::from_secs(60), "{until:?}");
                }
                Err(other) => panic!("{other}"),
            }
            admission.ended(tenth);
        }
        // The counter has a resolution of a second.
        for window in admitted.windows(61) {
            assert!(window[60].since(window[0]) > Duration::from_secs(59), "{window:?}");
        }
        assert!(admitted.len() >= 290, "{}", admitted.len());
    }

    #[test]
    fn prevented_responses_do_not_count_for_the_rate() {
        let mut admission = Admission::new(Mode::Stealth);
        let (settings, now) = (settings(1), Instant::from_secs(1));
        let host = |last: u64| probe(&format!("198.51.100.{last}"), 23);
        let prevented = || Err(Prevented::Gateway);
        let refused = admission.admit(1, &host(1), &settings, prevented, now);
        assert_eq!(refused, Err(Refusal::Prevented(Prevented::Gateway)));
        // The check before the first action prevents it.
        assert_eq!(admission.admit(2, &host(2), &settings, || Ok(()), now), Ok(()));
        assert_eq!(admission.prevented(2), Some(host(2).target));
        assert_eq!(admission.prevented(2), None);
        assert_eq!(admission.admit(3, &host(3), &settings, || Ok(()), now), Ok(()));
        let refused = admission.admit(4, &host(4), &settings, || Ok(()), now);
        assert!(matches!(refused, Err(Refusal::Rate { .. })));
    }

    #[test]
    fn a_refused_response_is_possible_at_the_returned_time() {
        let mut admission = Admission::new(Mode::Stealth);
        let mut admit = |id: u64, at: Instant| {
            let probe = probe(&format!("198.51.100.{id}"), 23);
            admission.admit(id, &probe, &settings(2), || Ok(()), at)
        };
        let now = Instant::from_secs(100);
        assert_eq!((admit(1, now), admit(2, now)), (Ok(()), Ok(())));
        let Err(Refusal::Rate { limit: 2, until }) = admit(3, Instant::from_secs(110)) else {
            panic!("no refusal");
        };
        let before = Instant::from_nanos(until.as_nanos() - 1);
        assert!(matches!(admit(3, before), Err(Refusal::Rate { .. })));
        assert_eq!(admit(3, until), Ok(()));
    }
}
