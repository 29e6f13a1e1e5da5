//! Checks immediately before a response that it harms neither this host nor its users.
//!
//! Anyone can send a packet with a forged source, so a probe in the name of the gateway or of a
//! connected client proves nothing. The checks read the state of the kernel each time,
//! because it changes at any time: an address is configured before its gateway, for example.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;

use portsentry_capture::clock::{monotonic, uptime};
use portsentry_capture::{
    IndispensableHosts, PortUse, Role, TrackedConnection, port_use, tracked_connection,
};
use portsentry_config::Configuration;
use portsentry_core::{Instant, Mode, NetworkSet, PreventionScope};
use portsentry_report::{ActionEvent, Prevented, Report};
use rustix::io::Errno;

use crate::answer::Answer;
use crate::never_block::never_block;
use crate::probe_context::ProbeContext;
use crate::recent::Recent;

/// Time after which a host or port whose response was prevented is checked again.
const HOLD: Duration = Duration::from_secs(10);

/// The checks that a configuration wants.
#[derive(Debug)]
pub(crate) struct Rules {
    /// The networks of `NEVER_BLOCK`. Without that key, the hosts that this host depends on.
    never_block: Option<NetworkSet>,
    /// Whether responses to this host itself are prevented.
    own_addresses: bool,
    /// Whether responses to connected hosts and for served ports are prevented. Not in connect
    /// mode, in which this program accepts each connection.
    connections: bool,
    /// Uptime of the system before which all responses are prevented.
    grace: Duration,
}

impl Rules {
    /// Returns the checks that `configuration` wants in `mode`.
    pub(crate) fn of(configuration: &Configuration, mode: Mode) -> Self {
        let settings = &configuration.settings;
        let never_block = settings.never_block.as_ref();
        Self {
            never_block: never_block.map(|networks| networks.iter().copied().collect()),
            own_addresses: configuration.local_check,
            connections: mode == Mode::Stealth && configuration.service_check,
            grace: settings.served_grace,
        }
    }

    /// Returns whether connections and served ports matter.
    pub(crate) const fn connections(&self) -> bool {
        self.connections
    }
}

/// The checks, with the state that they need. Any thread can call them.
#[derive(Debug)]
pub(crate) struct Safeguard {
    hosts: Mutex<Hosts>,
    reported: Mutex<Recent<(Option<IpAddr>, Prevented)>>,
}

/// The hosts that this host depends on.
#[derive(Debug)]
struct Hosts {
    current: IndispensableHosts,
    /// Whether they have changed since [`Safeguard::take_changed`] was called.
    changed: bool,
    /// Whether the last attempt to read them failed, which was logged.
    fails: bool,
}

impl Safeguard {
    /// Reads the hosts that this host depends on, and follows them from now on.
    pub(crate) fn new() -> io::Result<Self> {
        let current = IndispensableHosts::open()?;
        let hosts = Mutex::new(Hosts { current, changed: false, fails: false });
        Ok(Self { hosts, reported: Mutex::default() })
    }

    /// Returns a descriptor that is readable when these hosts may have changed.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.hosts().current.as_fd().try_clone_to_owned()
    }

    /// Returns when to call [`refresh`](Self::refresh) although the descriptor is not readable.
    pub(crate) fn due(&self) -> Option<std::time::Instant> {
        self.hosts().current.due()
    }

    /// Reads the changes of these hosts.
    pub(crate) fn refresh(&self) {
        // A failure is logged, and prevents the next response.
        let _ = self.hosts().refresh();
    }

    /// Returns whether the hosts have changed since the last call.
    pub(crate) fn take_changed(&self) -> bool {
        std::mem::take(&mut self.hosts().changed)
    }

    /// Returns the networks that are never responded to, as of the last call of another method.
    pub(crate) fn never_block(&self, configuration: &Configuration) -> Vec<IpNet> {
        never_block(configuration, &self.hosts().current)
    }

    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the reason to prevent the response to `probe`, if there is one.
    pub(crate) fn check(&self, probe: &ProbeContext, rules: &Rules) -> Result<(), Prevented> {
        if let Some(left) = grace_left(uptime(), rules.grace) {
            let seconds = left.as_millis().div_ceil(1_000);
            let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
            return Err(Prevented::JustStarted { seconds });
        }
        self.check_host(probe.target, rules)?;
        if rules.connections { check_port(probe) } else { Ok(()) }
    }

    fn check_host(&self, host: IpAddr, rules: &Rules) -> Result<(), Prevented> {
        if rules.never_block.as_ref().is_some_and(|networks| networks.contains(host)) {
            return Err(Prevented::NeverBlock);
        }
        let mut hosts = self.hosts();
        hosts.refresh().map_err(|_| Prevented::Unknown)?;
        let mut reasons = hosts.current.roles_of(host).filter_map(|role| match role {
            Role::OwnAddress if rules.own_addresses => Some(Prevented::OwnAddress),
            Role::Gateway { .. } if rules.never_block.is_none() => Some(Prevented::Gateway),
            Role::NameServer { .. } if rules.never_block.is_none() => Some(Prevented::NameServer),
            _ => None,
        });
        reasons.next().map_or(Ok(()), Err)
    }

    /// Returns the report about a prevented response, unless the same was reported in the last
    /// minute.
    pub(crate) fn report(&self, host: IpAddr, why: Prevented) -> Option<Report> {
        let key = match why {
            // One line for all hosts, although the time differs.
            Prevented::JustStarted { .. } => (None, Prevented::JustStarted { seconds: 0 }),
            _ => (Some(host), why),
        };
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = reported.insert(key, monotonic());
        is_news.then_some(Report { host, what: ActionEvent::Prevented(why) })
    }
}

impl Hosts {
    fn refresh(&mut self) -> io::Result<()> {
        match self.current.refresh() {
            Ok(changed) => {
                self.changed |= changed;
                self.fails = false;
                Ok(())
            }
            Err(error) => {
                // Logged once, not for each response.
                if !std::mem::replace(&mut self.fails, true) {
                    log::error!("cannot read the kernel's routes, so no response starts: {error}");
                }
                Err(error)
            }
        }
    }
}

/// Checks that the probe is not part of a connection that this host accepted or forwards, and that
/// nothing serves its port now.
fn check_port(probe: &ProbeContext) -> Result<(), Prevented> {
    let ProbeContext { target, source_port, local, port, interface, protocol, .. } = *probe;
    let (local, peer) = (SocketAddr::new(local, port), SocketAddr::new(target, source_port));
    let tracked = match tracked_connection(protocol, peer, local) {
        Ok(tracked) => tracked,
        Err(error) if is_shortage(&error) => {
            log::debug!("cannot look up the connection of a probe: {error}");
            return Err(Prevented::Unknown);
        }
        // Without `CAP_NET_ADMIN` this is not known, and the start has logged that.
        Err(_) => TrackedConnection::default(),
    };
    if tracked.translated {
        return Err(Prevented::Translated { port });
    }
    if tracked.connected {
        return Err(Prevented::Connected { port });
    }
    match port_use(protocol, local, peer, interface) {
        Ok(None) => Ok(()),
        Ok(Some(PortUse::Connected)) => Err(Prevented::Connected { port }),
        Ok(Some(_)) => Err(Prevented::Served { port }),
        Err(error) => {
            log::debug!("cannot look up the socket of a probe: {error}");
            Err(Prevented::Unknown)
        }
    }
}

/// Returns whether the system lacks descriptors or memory, so that the same question can have an
/// answer later.
fn is_shortage(error: &io::Error) -> bool {
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}

/// Returns the answer to a request that is prevented: which probes are prevented with it, and
/// until which time.
pub(crate) fn answer(why: Prevented, now: Instant) -> Answer {
    let (scope, time) = match why {
        Prevented::JustStarted { seconds } => {
            (PreventionScope::AllHosts, Duration::from_secs(seconds.into()))
        }
        Prevented::Connected { .. } | Prevented::Served { .. } | Prevented::Translated { .. } => {
            (PreventionScope::Port, HOLD)
        }
        _ => (PreventionScope::Host, HOLD),
    };
    Answer::Prevented { scope, until: now.after(time) }
}

/// Returns how long responses are still prevented after the start of the system.
fn grace_left(uptime: Duration, grace: Duration) -> Option<Duration> {
    grace.checked_sub(uptime).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_shortage_makes_an_answer_doubtful() {
        let error = |errno: Errno| io::Error::from(errno);
        assert!(is_shortage(&error(Errno::MFILE)));
        assert!(is_shortage(&error(Errno::NOBUFS)));
        assert!(!is_shortage(&error(Errno::PERM)));
        assert!(!is_shortage(&error(Errno::INVAL)));
    }

    #[test]
    fn responses_start_when_the_grace_has_passed() {
        let seconds = Duration::from_secs;
        assert_eq!(grace_left(seconds(0), seconds(600)), Some(seconds(600)));
        assert_eq!(grace_left(seconds(599), seconds(600)), Some(seconds(1)));
        assert_eq!(grace_left(seconds(600), seconds(600)), None);
        assert_eq!(grace_left(seconds(601), seconds(600)), None);
        assert_eq!(grace_left(seconds(0), seconds(0)), None);
    }

    #[test]
    fn each_reason_is_reported_once_a_minute() {
        let safeguard = Safeguard::new().unwrap();
        let [first, second] = ["192.0.2.1", "192.0.2.2"].map(|it| it.parse().unwrap());
        let reported = |host, why| safeguard.report(host, why).is_some();
        assert!(reported(first, Prevented::Gateway));
        assert!(!reported(first, Prevented::Gateway));
        assert!(reported(second, Prevented::Gateway));
        assert!(reported(first, Prevented::Connected { port: 80 }));
        assert!(reported(first, Prevented::Connected { port: 81 }));
        assert!(reported(first, Prevented::JustStarted { seconds: 9 }));
        assert!(!reported(second, Prevented::JustStarted { seconds: 8 }));
    }
}
