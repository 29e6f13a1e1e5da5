//! What this host itself asks over UDP from monitored ports, so that answers are
//! not taken for probes.
//!
//! The table of sockets does not tell: a resolver's socket comes and goes between
//! two looks at it, and an answer may come when it is gone. So the datagrams that
//! this host sends are looked at. All of it stands behind one descriptor, and
//! nothing is open while no UDP port is monitored.
//!
//! An answer must not overtake its query on the way here. It waits in a block of
//! its capture while the query can be read at once; and before a datagram is
//! judged that came later than the queries were read last, they are read again.

mod asked;
mod exchange;
mod sent;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use portsentry_core::{Evidence, Instant, Observation, Timestamp};
use rustix::event::{Timespec, epoll};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime,
    timerfd_create, timerfd_settime,
};

use self::asked::Asked;
use self::sent::SentDatagrams;
use super::Watched;
use super::judge::now;
use super::losses::{Loss, LossReport};
use crate::{Interface, QueryStats};

/// What epoll says is ready.
const SENT: u64 = 0;
const RESTED: u64 = 1;
const LOSSES: u64 = 2;

const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How long the reader is not woken for another query after it was for one. There
/// is room for a million a second meanwhile.
const REST: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// What is said when answers cannot be told from probes.
const ADVICE: &str = "answers to them may be told as probes; leave the ports of \
                      net.ipv4.ip_local_port_range out of UDP_PORTS";

/// The queries of this host.
#[derive(Debug)]
pub(super) struct Queries {
    /// Holds the socket, for one event at a time, and the two timers.
    epoll: OwnedFd,
    rest: OwnedFd,
    losses: LossReport,
    open: Option<Open>,
    watched: Watched,
    broadcasts: Vec<Ipv4Addr>,
    /// Up to which time of packets all queries were read.
    read_until: Option<Timestamp>,
    /// What is wrong with a socket that cannot be opened or read.
    complaint: Option<String>,
    /// Whether it is still to be said.
    unsaid: bool,
    stats: QueryStats,
}

/// What there is while a UDP port is monitored.
#[derive(Debug)]
struct Open {
    datagrams: SentDatagrams,
    asked: Asked,
}

impl Queries {
    /// Nothing is asked from any port yet.
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let rest = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let losses = LossReport::new()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (descriptor, token) in [(rest.as_fd(), RESTED), (losses.descriptor(), LOSSES)] {
            let data = epoll::EventData::new_u64(token);
            epoll::add(&epoll, descriptor, data, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            rest,
            losses,
            open: None,
            watched: Watched::default(),
            broadcasts: Vec::new(),
            read_until: None,
            complaint: None,
            unsaid: false,
            stats: QueryStats::default(),
        })
    }

    /// Readable when [`attend`](Self::attend) has something to do.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    /// From now on, for queries from these addresses and UDP ports. A failure costs
    /// no more than the answers, and is for [`complain`](Self::complain).
    pub(super) fn watch(&mut self, watched: &Watched) {
        let is_new = *watched != self.watched;
        if is_new {
            self.watched = watched.clone();
        }
        if watched.udp_ports.is_empty() {
            self.close();
        } else if is_new || self.open.is_none() || self.complaint.is_some() {
            let result = self.open_or_set();
            self.note(result, "cannot see the UDP queries of this host");
        }
    }

    /// The addresses that queries to all hosts of a network go to.
    pub(super) fn set_broadcasts(&mut self, interfaces: &[Interface]) {
        let addresses = interfaces.iter().flat_map(|it| &it.addresses);
        self.broadcasts = addresses.filter_map(|it| it.broadcast).collect();
    }

    fn open_or_set(&mut self) -> io::Result<()> {
        let Watched { addresses, udp_ports, .. } = &self.watched;
        match &self.open {
            Some(open) => open.datagrams.set(addresses, udp_ports),
            None => {
                let datagrams = SentDatagrams::open(addresses, udp_ports)?;
                let data = epoll::EventData::new_u64(SENT);
                epoll::add(&self.epoll, datagrams.descriptor(), data, ONE_EVENT)?;
                self.open = Some(Open { datagrams, asked: Asked::new() });
                Ok(())
            }
        }
    }

    /// Does what [`descriptor`](Self::descriptor) was readable for.
    pub(super) fn attend(&mut self) -> io::Result<()> {
        let (flags, data) = (epoll::EventFlags::empty(), epoll::EventData::new_u64(0));
        let mut events = [epoll::Event { flags, data }; 3];
        let ready = epoll::wait(&self.epoll, &mut events, Some(&NEVER))?;
        for event in events.get(..ready).unwrap_or_default() {
            match event.data.u64() {
                SENT => {
                    self.read(now());
                    self.arm_rest(REST)?;
                    self.losses.look_soon()?;
                }
                RESTED => {
                    self.arm_rest(NEVER)?;
                    if let Some(Open { datagrams, .. }) = &self.open {
                        let data = epoll::EventData::new_u64(SENT);
                        epoll::modify(&self.epoll, datagrams.descriptor(), data, ONE_EVENT)?;
                    }
                }
                _ => self.tell_losses()?,
            }
        }
        Ok(())
    }

    fn arm_rest(&self, it_value: Timespec) -> io::Result<()> {
        let timer = Itimerspec { it_interval: NEVER, it_value };
        timerfd_settime(&self.rest, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }

    fn tell_losses(&mut self) -> io::Result<()> {
        let missed = self.stats().missed;
        let loss = Loss { capture: SENT, interface: "", packets: missed };
        if let Some(new) = self.losses.looked(std::time::Instant::now(), &[loss])? {
            let missed: u64 = new.iter().map(|(_, packets)| packets).sum();
            log::warn!(
                "{missed} UDP datagrams that this host sent were not seen, because they were not \
                 read in time: {ADVICE}"
            );
        }
        Ok(())
    }

    /// Captures are read from now on. What was read before does not count: the
    /// clock of the packets may have been set back.
    pub(super) fn begin_round(&mut self) {
        self.read_until = None;
    }

    /// Whether `observation` answers a query. A look-up or two for a datagram to a
    /// monitored port, one comparison for all else; and a system call when it came
    /// later than the queries were read.
    pub(super) fn is_answer(&mut self, observation: &Observation) -> bool {
        let Observation { time, source, source_port, target, target_port, .. } = *observation;
        if observation.evidence != Evidence::Datagram
            || self.open.is_none()
            || !self.watched.udp_ports.contains(target_port)
        {
            return false;
        }
        let now = now();
        if self.read_until.is_none_or(|until| time > until) {
            self.read(now);
        }
        self.open.as_mut().is_some_and(|open| {
            let (from, to) =
                (SocketAddr::new(source, source_port), SocketAddr::new(target, target_port));
            open.asked.is_answer(from, to, time, now)
        })
    }

    /// Reads what this host has sent up to now.
    fn read(&mut self, now: Instant) {
        let Some(Open { datagrams, asked }) = &mut self.open else { return };
        // By the same clock as the kernel's for packets.
        self.read_until = Some(wall_clock());
        let (addresses, broadcasts) = (&self.watched.addresses, &self.broadcasts);
        let seen = &mut self.stats.seen;
        let result = datagrams.read(&mut |sent| {
            let is_call = match sent.to.ip() {
                IpAddr::V4(to) => {
                    to.is_multicast() || to.is_broadcast() || broadcasts.contains(&to)
                }
                IpAddr::V6(to) => to.is_multicast(),
            };
            // What this host forwards is not its own.
            if addresses.contains(sent.from.ip()) || is_call && sent.from.ip().is_unspecified() {
                *seen += 1;
                asked.sent(sent.from, sent.to, is_call, sent.time, now);
            }
        });
        if result.is_err() {
            self.close();
            self.note(result, "cannot read the UDP queries of this host any further");
            self.complain();
        }
    }

    fn close(&mut self) {
        self.stats = self.stats();
        self.open = None;
    }

    fn note(&mut self, result: io::Result<()>, what: &str) {
        let complaint = result.err().map(|error| {
            format!(
                "{what} ({error}), so {ADVICE}, or have the configuration read again (SIGHUP) \
                 to try once more"
            )
        });
        self.unsaid = complaint.is_some() && (self.unsaid || complaint != self.complaint);
        self.complaint = complaint;
    }

    /// Says what is wrong, once.
    pub(super) fn complain(&mut self) {
        if let Some(complaint) = &self.complaint
            && std::mem::take(&mut self.unsaid)
        {
            log::warn!("{complaint}");
        }
    }

    /// Counters since the start. A system call.
    pub(super) fn stats(&mut self) -> QueryStats {
        if let Some(Open { datagrams, .. }) = &self.open {
            self.stats.missed += datagrams.missed();
        }
        let evicted = self.open.as_ref().map_or(0, |open| open.asked.evicted);
        QueryStats { evicted: self.stats.evicted + evicted, ..self.stats }
    }
}

/// No other comes until it is asked for again.
const ONE_EVENT: epoll::EventFlags = epoll::EventFlags::IN.union(epoll::EventFlags::ONESHOT);

fn wall_clock() -> Timestamp {
    let now = clock_gettime(ClockId::Realtime);
    Timestamp::from_nanos(now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec))
}
