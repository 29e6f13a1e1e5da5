//! What the responder lets through of what it is asked for.
//!
//! The engine in the packet process has decided already. The responder decides again,
//! by facts that it knows itself: the configuration, this host's addresses and the clock.
//! A packet process that an attacker controls can therefore block hosts no faster than
//! `BLOCK_RATE`, and never the hosts that this host needs. `BLOCK_RATE` is counted here
//! only.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};

use portsentry_capture::{Interface, InterfaceMonitor};
use portsentry_core::config::Settings;
use portsentry_core::{Instant, Limits, Mode, NetworkSet, Protocol, RateLimit};

use crate::actions::command::ProbeContext;

/// Why a request is not carried out. `Display` ends the line about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("no configuration is in force")]
    NothingInForce,
    #[error("the configuration has no response to this probe")]
    NotConfigured,
    #[error("not the address of a host")]
    NotAHost,
    #[error("it is never blocked")]
    Protected,
    #[error("a response to it is under way")]
    UnderWay,
    #[error("too many responses are under way")]
    TooMany,
    #[error("more than BLOCK_RATE allows")]
    Rate {
        /// Responses a minute.
        limit: u32,
        /// The time at which the next response is possible.
        until: Instant,
    },
}

/// The responses under way, and how many there were.
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
    /// For a sentry that watches in `mode`.
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

    /// Takes the response `id` to `probe` as under way, or says why it is not to
    /// be begun. `settings` and `protected` are those in force, `now` any
    /// monotonic time.
    pub(super) fn admit(
        &mut self,
        id: u64,
        probe: &ProbeContext,
        settings: &Settings,
        protected: &NetworkSet,
        now: Instant,
    ) -> Result<(), Refusal> {
        let ports = match probe.protocol {
            Protocol::Tcp => &settings.tcp_ports,
            Protocol::Udp => &settings.udp_ports,
        };
        if probe.mode != self.mode || !ports.contains(probe.port) {
            return Err(Refusal::NotConfigured);
        }
        if !is_host(probe.target) {
            return Err(Refusal::NotAHost);
        }
        if protected.contains(probe.target) {
            return Err(Refusal::Protected);
        }
        if self.hosts.contains(&probe.target) || self.under_way.contains_key(&id) {
            return Err(Refusal::UnderWay);
        }
        if self.hosts.len() >= self.most {
            return Err(Refusal::TooMany);
        }
        let limit = settings.block_rate;
        if !self.rate.take(now, limit) {
            return Err(Refusal::Rate { limit, until: self.rate.free_at(limit) });
        }
        self.under_way.insert(id, probe.target);
        self.hosts.insert(probe.target);
        Ok(())
    }

    /// The response `id` has ended.
    pub(super) fn ended(&mut self, id: u64) {
        if let Some(host) = self.under_way.remove(&id) {
            self.hosts.remove(&host);
        }
    }
}

/// Whether anybody can have this address, and no other form of it exists.
fn is_host(address: IpAddr) -> bool {
    let special = match address {
        IpAddr::V4(v4) => v4.is_broadcast(),
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !special && !address.is_unspecified() && !address.is_multicast()
}

/// This host's addresses, as they change: what is never acted on depends on them.
#[derive(Debug)]
pub(super) struct OwnAddresses {
    /// `None` once it has failed.
    monitor: Option<InterfaceMonitor>,
    own: NetworkSet,
}

impl OwnAddresses {
    pub(super) fn new() -> io::Result<Self> {
        // The monitor first, so that no change falls in between.
        let monitor = Some(InterfaceMonitor::open()?);
        Ok(Self { monitor, own: own_addresses()? })
    }

    /// Readable when they may have changed.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(AsFd::as_fd)
    }

    /// Whether they have changed since this was asked before.
    ///
    /// # Errors
    ///
    /// Once, if the kernel tells nothing more.
    pub(super) fn changed(&mut self) -> io::Result<bool> {
        let Some(monitor) = &mut self.monitor else { return Ok(false) };
        let own = match monitor.changed() {
            Ok(false) => return Ok(false),
            Ok(true) => own_addresses(),
            Err(error) => Err(error),
        };
        let own = own.inspect_err(|_| self.monitor = None)?;
        Ok(std::mem::replace(&mut self.own, own) != self.own)
    }
}

fn own_addresses() -> io::Result<NetworkSet> {
    Ok(Interface::own_addresses(&Interface::all()?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ipnet::IpNet;

    use super::*;

    fn probe(target: &str, port: u16) -> ProbeContext {
        let target = target.parse().unwrap();
        ProbeContext { target, port, mode: Mode::Stealth, protocol: Protocol::Tcp }
    }

    fn settings(block_rate: u32) -> Settings {
        let mut settings = Settings::default();
        settings.tcp_ports = [23].into_iter().collect();
        settings.block_rate = block_rate;
        settings
    }

    #[test]
    fn only_what_a_probe_could_lead_to_is_let_through() {
        let protected: NetworkSet = ["192.0.2.0/24", "2001:db8::1/128"]
            .map(|it| it.parse::<IpNet>().unwrap())
            .into_iter()
            .collect();
        let check = |probe: ProbeContext, expected: Result<(), Refusal>| {
            let mut admission = Admission::new(Mode::Stealth);
            let found = admission.admit(1, &probe, &settings(0), &protected, Instant::from_secs(1));
            assert_eq!(found, expected, "{probe:?}");
        };
        check(probe("198.51.100.7", 23), Ok(()));
        check(probe("2001:db8::7", 23), Ok(()));
        check(probe("198.51.100.7", 24), Err(Refusal::NotConfigured));
        let of_another =
            |mode, protocol| ProbeContext { mode, protocol, ..probe("198.51.100.7", 23) };
        check(of_another(Mode::Connect, Protocol::Tcp), Err(Refusal::NotConfigured));
        check(of_another(Mode::Stealth, Protocol::Udp), Err(Refusal::NotConfigured));
        for address in
            ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "::ffff:192.0.2.1"]
        {
            check(probe(address, 23), Err(Refusal::NotAHost));
        }
        for address in ["192.0.2.9", "2001:db8::1"] {
            check(probe(address, 23), Err(Refusal::Protected));
        }
    }

    #[test]
    fn one_at_a_time_for_each_host_and_a_bound_for_all() {
        let mut admission = Admission::new(Mode::Stealth);
        let admit = |admission: &mut Admission, id: u64, target: &str| {
            let (probe, now) = (probe(target, 23), Instant::from_secs(1));
            admission.admit(id, &probe, &settings(0), &NetworkSet::default(), now)
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
    fn no_minute_has_more_responses_than_the_rate() {
        let mut admission = Admission::new(Mode::Stealth);
        let settings = settings(60);
        let mut admitted = Vec::new();
        for tenth in 0..3_000_u64 {
            let at = Instant::from_nanos(tenth * 100_000_000);
            let target = std::net::Ipv4Addr::from(0xc633_0000 + tenth as u32).to_string();
            let networks = NetworkSet::default();
            match admission.admit(tenth, &probe(&target, 23), &settings, &networks, at) {
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
    fn a_refused_response_is_possible_at_the_time_that_was_given() {
        let mut admission = Admission::new(Mode::Stealth);
        let mut admit = |id: u64, at: Instant| {
            let probe = probe(&format!("198.51.100.{id}"), 23);
            admission.admit(id, &probe, &settings(2), &NetworkSet::default(), at)
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
