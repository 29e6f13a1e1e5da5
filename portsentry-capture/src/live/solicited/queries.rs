//! The queries of this host, behind one descriptor.
//!
//! A query must be processed before its reply. The reply waits in a block of its capture,
//! while the query is readable immediately. So if a datagram is newer than the last read of the
//! queries, they are read again before the datagram is classified.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use portsentry_core::{Evidence, Instant, Observation, Timestamp};

use super::flow::UdpFlow;
use super::origin::Origins;
use super::pending::PendingQueries;
use super::sent::SentDatagrams;
use crate::live::Watched;
use crate::live::losses::{Loss, LossReport};
use crate::reactor::{EventSet, Ready, Timer, Watch};
use crate::{Interface, QueryStats, clock};

/// Tokens of the epoll set.
const SENT: u64 = 0;
const REARM: u64 = 1;
const LOSSES: u64 = 2;

/// Pause between two wake-ups for queries. The socket buffer is large enough for a million
/// datagrams per second in this time.
const PAUSE: Duration = Duration::from_millis(5);

/// Consequence and remedy, for the log.
const ADVICE: &str = "replies to them may be reported as probes; exclude the ports of \
                      net.ipv4.ip_local_port_range from UDP_PORTS";

/// Reads the queries of this host, while UDP ports are monitored.
#[derive(Debug)]
pub(in crate::live) struct Queries {
    /// Contains the socket, for one event at a time, and the two timers.
    events: EventSet,
    pause: Timer,
    losses: LossReport,
    open: Option<Open>,
    watched: Watched,
    broadcasts: Vec<Ipv4Addr>,
    /// All queries up to this packet time were read.
    read_until: Option<Timestamp>,
    /// Reason why the socket cannot be opened or read.
    failure: Option<String>,
    /// Whether `failure` was not logged yet.
    unlogged: bool,
    stats: QueryStats,
}

/// State that exists only while a UDP port is monitored.
#[derive(Debug)]
struct Open {
    datagrams: SentDatagrams,
    origins: Origins,
    pending: PendingQueries,
}

impl Queries {
    /// Creates a reader without any monitored port.
    pub(in crate::live) fn new() -> io::Result<Self> {
        let (events, pause) = (EventSet::new()?, Timer::new()?);
        let losses = LossReport::new()?;
        events.add(&pause, REARM, Watch::In)?;
        events.add(losses.descriptor(), LOSSES, Watch::In)?;
        Ok(Self {
            events,
            pause,
            losses,
            open: None,
            watched: Watched::default(),
            broadcasts: Vec::new(),
            read_until: None,
            failure: None,
            unlogged: false,
            stats: QueryStats::default(),
        })
    }

    /// Readable when [`handle_ready`](Self::handle_ready) has work.
    pub(in crate::live) fn descriptor(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }

    /// Watches for queries from these addresses and UDP ports. Without the socket only
    /// replies are affected, so a failure is kept for [`log_failure`](Self::log_failure).
    pub(in crate::live) fn watch(&mut self, watched: &Watched) {
        let is_new = *watched != self.watched;
        if is_new {
            self.watched = watched.clone();
        }
        if watched.udp_ports.is_empty() {
            self.close();
        } else if is_new || self.open.is_none() || self.failure.is_some() {
            let result = self.open_or_set();
            self.record(result, "cannot capture the UDP queries of this host");
        }
    }

    /// Sets the broadcast addresses, which count as groups.
    pub(in crate::live) fn set_broadcasts(&mut self, interfaces: &[Interface]) {
        let addresses = interfaces.iter().flat_map(|it| &it.addresses);
        self.broadcasts = addresses.filter_map(|it| it.broadcast).collect();
    }

    fn open_or_set(&mut self) -> io::Result<()> {
        let Watched { addresses, udp_ports, .. } = &self.watched;
        match &self.open {
            Some(open) => open.datagrams.set(addresses, udp_ports),
            None => {
                let datagrams = SentDatagrams::open(addresses, udp_ports)?;
                self.events.add(datagrams.descriptor(), SENT, Watch::InOnce)?;
                let (origins, pending) = (Origins::new(), PendingQueries::new());
                self.open = Some(Open { datagrams, origins, pending });
                Ok(())
            }
        }
    }

    /// Handles the events that made [`descriptor`](Self::descriptor) readable.
    pub(in crate::live) fn handle_ready(&mut self) -> io::Result<()> {
        let ready: Ready<3> = self.events.ready()?;
        for token in ready.tokens() {
            match token {
                SENT => {
                    self.read(clock::monotonic());
                    self.pause.arm(PAUSE)?;
                    self.losses.check_soon()?;
                }
                REARM => {
                    self.pause.disarm()?;
                    if let Some(Open { datagrams, .. }) = &self.open {
                        self.events.modify(datagrams.descriptor(), SENT, Watch::InOnce)?;
                    }
                }
                _ => self.log_losses()?,
            }
        }
        Ok(())
    }

    fn log_losses(&mut self) -> io::Result<()> {
        let missed = self.stats().missed;
        let loss = Loss { capture: SENT, interface: "", packets: missed };
        if let Some(new) = self.losses.checked(std::time::Instant::now(), &[loss])? {
            let missed: u64 = new.iter().map(|(_, packets)| packets).sum();
            log::warn!(
                "the kernel dropped {missed} copies of UDP datagrams that this host sent \
                 (buffer full): {ADVICE}"
            );
        }
        Ok(())
    }

    /// Starts a round over the captures. Earlier reads no longer count, because the wall
    /// clock may have been set back.
    pub(in crate::live) fn start_round(&mut self) {
        self.read_until = None;
    }

    /// Returns whether `observation` replies to a query. One or two lookups for a datagram
    /// to a monitored port and one comparison for anything else; a system call if the
    /// datagram is newer than the last read of the queries.
    pub(in crate::live) fn is_reply(&mut self, observation: &Observation) -> bool {
        let Observation { time, source, source_port, target, target_port, .. } = *observation;
        if observation.evidence != Evidence::Datagram
            || self.open.is_none()
            || !self.watched.udp_ports.contains(target_port)
        {
            return false;
        }
        let now = clock::monotonic();
        if self.read_until.is_none_or(|until| time > until) {
            self.read(now);
        }
        self.open.as_mut().is_some_and(|open| {
            let (from, to) =
                (SocketAddr::new(source, source_port), SocketAddr::new(target, target_port));
            open.pending.is_reply(from, to, time, now)
        })
    }

    /// Reads the datagrams that this host sent up to now.
    fn read(&mut self, now: Instant) {
        let Some(Open { datagrams, origins, pending }) = &mut self.open else { return };
        // The kernel stamps packets with the same clock.
        self.read_until = Some(clock::wall());
        let (addresses, broadcasts) = (&self.watched.addresses, &self.broadcasts);
        let seen = &mut self.stats.seen;
        let result = datagrams.read(&mut |it| {
            let to_group = match it.to.ip() {
                IpAddr::V4(to) => {
                    to.is_multicast() || to.is_broadcast() || broadcasts.contains(&to)
                }
                IpAddr::V6(to) => to.is_multicast(),
            };
            let is_named = addresses.contains(it.from.ip());
            let flow = if to_group {
                UdpFlow::with_any_remote(it.from)
            } else {
                UdpFlow::between(it.from, it.to)
            };
            let Some(flow) = flow else { return };
            if !(is_named || to_group && it.from.ip().is_unspecified()) {
                return;
            }
            if it.is_incoming {
                // A datagram to this host itself does not leave again.
                if to_group || !addresses.contains(it.to.ip()) {
                    origins.arrived(flow, &it, now);
                }
            } else if origins.is_own(flow, &it, now) {
                *seen += 1;
                pending.sent(it.from, it.to, to_group, it.time, now);
            }
        });
        if result.is_err() {
            self.close();
            self.record(result, "cannot read the UDP queries of this host any more");
            self.log_failure();
        }
    }

    fn close(&mut self) {
        self.stats = self.stats();
        self.open = None;
    }

    fn record(&mut self, result: io::Result<()>, what: &str) {
        let failure = result.err().map(|error| {
            format!("{what} ({error}), so {ADVICE}, or reload the configuration (SIGHUP) to retry")
        });
        self.unlogged = failure.is_some() && (self.unlogged || failure != self.failure);
        self.failure = failure;
    }

    /// Logs the failure, once.
    pub(in crate::live) fn log_failure(&mut self) {
        if let Some(failure) = &self.failure
            && std::mem::take(&mut self.unlogged)
        {
            log::warn!("{failure}");
        }
    }

    /// Returns the counters since the start. One system call.
    pub(in crate::live) fn stats(&mut self) -> QueryStats {
        if let Some(Open { datagrams, .. }) = &self.open {
            self.stats.missed += datagrams.missed();
        }
        let evicted = self.open.as_ref().map_or(0, |open| open.pending.evicted);
        QueryStats { evicted: self.stats.evicted + evicted, ..self.stats }
    }
}
