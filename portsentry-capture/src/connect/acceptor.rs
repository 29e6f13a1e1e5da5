//! Accepts connections and datagrams from the bound sockets, and replies to them.
//!
//! One epoll set contains the epoll set of the bound sockets, the open connections and a timer.
//! So all bound sockets can be paused with one call when the system has no resources for another
//! connection.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use portsentry_core::{Evidence, Instant, Observation};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with, getsockname};

use super::answer_limit::{AnswerLimit, Decision};
use super::bound::Bound;
use super::connections::Connections;
use super::datagrams::{Receiver, answer};
use super::notice::ConnectNotice;
use super::{ConnectLimits, Reply};
use crate::reactor::{EventSet, Ready, Timer, Watch};
use crate::{Rejected, SensorStats, Tally, clock, martian_source};

/// Tokens of the epoll set; connections have the tokens from `FIRST_CONNECTION`.
const SOCKETS: u64 = 0;
const TIMER: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

/// Time without accepting after the system had no resources for a connection.
const PAUSE: Duration = Duration::from_millis(100);

/// Maximum number of notices that wait to be polled.
const NOTICES: usize = 256;

/// Counters of connections and datagrams, and of the replies to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ConnectStats {
    /// Number of accepted connections.
    pub connections: u64,
    /// Number of received datagrams.
    pub datagrams: u64,
    /// Number of connections whose banner was sent.
    pub banners: u64,
    /// Number of replies to datagrams.
    pub answers: u64,
    /// Number of datagrams without a reply, because the limit of their network or the total
    /// limit was reached.
    pub held_back: u64,
    /// Number of connections and datagrams whose reply could not be sent, because the peer closed
    /// or is unreachable.
    pub unreachable: u64,
    /// Number of connections that took too long and were reset.
    pub timed_out: u64,
    /// Number of connections that were closed early to make room for others.
    pub displaced: u64,
    /// Number of connections that were closed without a banner, because no descriptor was free.
    pub turned_away: u64,
    /// Number of connections that could not be accepted.
    pub accept_failed: u64,
    /// Number of notices dropped because they were not polled in time.
    pub notices_lost: u64,
}

/// Accepts connections and datagrams.
#[derive(Debug)]
pub(super) struct Acceptor {
    events: EventSet,
    timer: Timer,
    /// Time at which the timer expires.
    timer_set: Option<Instant>,
    paused_until: Option<Instant>,
    /// Descriptor that is closed to accept one more connection when no descriptor is free.
    spare: Option<OwnedFd>,
    banner: Arc<[u8]>,
    connections: Connections,
    limit: AnswerLimit,
    receiver: Receiver,
    notices: VecDeque<ConnectNotice>,
    tally: Tally,
    /// Counters without those of `connections`.
    counted: ConnectStats,
}

/// Result of [`Acceptor::advance_connections`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// A bound socket is readable.
    pub(super) sockets_ready: bool,
    /// There may be more ready descriptors than were handled.
    pub(super) more: bool,
}

impl Acceptor {
    /// Creates an acceptor. `sockets` must be readable when a bound socket is.
    pub(super) fn new(
        sockets: BorrowedFd<'_>,
        banner: Vec<u8>,
        limits: &ConnectLimits,
    ) -> io::Result<Self> {
        let (events, timer) = (EventSet::new()?, Timer::new()?);
        events.add(sockets, SOCKETS, Watch::In)?;
        events.add(&timer, TIMER, Watch::In)?;
        Ok(Self {
            events,
            timer,
            timer_set: None,
            paused_until: None,
            spare: spare(),
            banner: banner.into(),
            connections: Connections::new(limits.connections, limits.patience),
            limit: AnswerLimit::new(limits.answers_per_network, limits.answers),
            receiver: Receiver::new(),
            notices: VecDeque::with_capacity(NOTICES),
            tally: Tally::default(),
            counted: ConnectStats::default(),
        })
    }

    pub(super) fn set_banner(&mut self, banner: Vec<u8>) {
        self.banner = banner.into();
    }

    /// Returns whether the bound sockets are paused.
    pub(super) fn pauses(&self) -> bool {
        self.paused_until.is_some()
    }

    pub(super) fn poll_notice(&mut self) -> Option<ConnectNotice> {
        self.notices.pop_front()
    }

    pub(super) fn stats(&self) -> ConnectStats {
        let outcomes = self.connections.outcomes;
        ConnectStats {
            banners: outcomes.banner_sent,
            unreachable: self.counted.unreachable + outcomes.gone,
            timed_out: outcomes.timed_out,
            displaced: outcomes.displaced,
            ..self.counted
        }
    }

    pub(super) fn sensor_stats(&self) -> SensorStats {
        SensorStats {
            received: self.counted.connections + self.counted.datagrams,
            tally: self.tally.clone(),
            ..SensorStats::default()
        }
    }

    /// Advances the connections that are ready.
    pub(super) fn advance_connections<const N: usize>(&mut self) -> io::Result<Round> {
        let ready: Ready<N> = self.events.ready()?;
        let mut round = Round { more: ready.is_full(), ..Round::default() };
        for token in ready.tokens() {
            match token {
                SOCKETS => round.sockets_ready = true,
                TIMER => {
                    self.timer.disarm()?;
                    self.timer_set = None;
                }
                token => self.connections.advance(token, &self.events, FIRST_CONNECTION),
            }
        }
        Ok(round)
    }

    /// Accepts up to `share` connections. Returns whether there may be more.
    pub(super) fn accept(
        &mut self,
        bound: &Bound,
        share: usize,
        decide: &mut dyn FnMut(&Observation) -> Reply,
    ) -> io::Result<bool> {
        const FLAGS: SocketFlags = SocketFlags::NONBLOCK.union(SocketFlags::CLOEXEC);
        for _ in 0..share {
            if self.spare.is_none() {
                self.spare = spare();
            }
            let mut accepted = acceptfrom_with(bound.socket(), FLAGS);
            let full = matches!(accepted, Err(Errno::MFILE | Errno::NFILE));
            if full && self.spare.take().is_some() {
                // Uses the number of the spare descriptor, to read the source address.
                accepted = acceptfrom_with(bound.socket(), FLAGS);
            }
            match accepted {
                Ok((socket, peer)) => {
                    let local = getsockname(&socket).ok().and_then(|it| it.try_into().ok());
                    let peer = peer.and_then(|it| it.try_into().ok());
                    self.counted.connections += 1;
                    let reply = self.observe_connection(bound, peer, local, decide);
                    if full {
                        self.counted.turned_away += 1;
                    } else if reply == Reply::Banner && !self.banner.is_empty() {
                        self.send_banner(socket)?;
                    }
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.counted.accept_failed += 1;
                    let (port, errno) = (bound.endpoint.port, error.raw_os_error());
                    self.notify(ConnectNotice::AcceptFailed { port, errno });
                    if !is_of_the_connection(error) {
                        self.paused_until = Some(clock::monotonic().after(PAUSE));
                        return Ok(false);
                    }
                }
            }
        }
        Ok(true)
    }

    fn observe_connection(
        &mut self,
        bound: &Bound,
        peer: Option<SocketAddr>,
        local: Option<SocketAddr>,
        decide: &mut dyn FnMut(&Observation) -> Reply,
    ) -> Reply {
        let Some(peer) = peer else { return Reply::Nothing };
        let target = local.map_or(bound.endpoint.address, |local| local.ip().to_canonical());
        let interface = match peer {
            SocketAddr::V4(_) => 0,
            SocketAddr::V6(peer) => peer.scope_id(),
        };
        self.observe(bound, Evidence::Connection, peer, target, interface, decide)
    }

    fn send_banner(&mut self, socket: OwnedFd) -> io::Result<()> {
        let now = clock::monotonic();
        match self.connections.send_banner(
            socket,
            &self.banner,
            now,
            &self.events,
            FIRST_CONNECTION,
        ) {
            // Epoll has no room. The kernel may have accepted the banner; otherwise it is lost.
            Err(Errno::NOSPC | Errno::NOMEM) => {
                self.counted.turned_away += 1;
                Ok(())
            }
            outcome => Ok(outcome?),
        }
    }

    /// Receives up to `share` datagrams. Returns whether there may be more.
    pub(super) fn receive(
        &mut self,
        bound: &Bound,
        share: usize,
        decide: &mut dyn FnMut(&Observation) -> Reply,
    ) -> io::Result<bool> {
        for _ in 0..share {
            let datagram = match self.receiver.receive(bound.socket()) {
                Ok(Some(datagram)) => datagram,
                Ok(None) => return Ok(false),
                Err(error) => {
                    log::debug!("cannot receive on UDP port {}: {error}", bound.endpoint.port);
                    self.paused_until = Some(clock::monotonic().after(PAUSE));
                    return Ok(false);
                }
            };
            self.counted.datagrams += 1;
            if !datagram.unicast {
                self.tally.add(Rejected::NotForThisHost);
                continue;
            }
            let target = datagram.destination.unwrap_or(bound.endpoint.address);
            let (sender, interface) = (datagram.sender, datagram.interface);
            let reply = self.observe(bound, Evidence::Message, sender, target, interface, decide);
            if reply == Reply::Banner && !self.banner.is_empty() {
                match self.limit.decide(sender.ip().to_canonical(), clock::monotonic()) {
                    Decision::Allowed => match answer(bound.socket(), &datagram, &self.banner) {
                        Ok(()) => self.counted.answers += 1,
                        Err(_) => self.counted.unreachable += 1,
                    },
                    Decision::NetworkLimit | Decision::TotalLimit => self.counted.held_back += 1,
                }
            }
        }
        Ok(true)
    }

    fn observe(
        &mut self,
        bound: &Bound,
        evidence: Evidence,
        peer: SocketAddr,
        target: IpAddr,
        interface: u32,
        decide: &mut dyn FnMut(&Observation) -> Reply,
    ) -> Reply {
        let source = peer.ip().to_canonical();
        // The kernel accepts loopback sources only on the loopback interface.
        if martian_source(source, true) {
            self.tally.add(Rejected::MartianSource);
            return Reply::Nothing;
        }
        let target = SocketAddr::new(target, bound.endpoint.port);
        decide(
            &Observation::new(peer, target, evidence)
                .at(clock::monotonic())
                .stamped(clock::wall())
                .on(interface),
        )
    }

    fn notify(&mut self, notice: ConnectNotice) {
        if self.notices.len() < NOTICES {
            self.notices.push_back(notice);
        } else {
            self.counted.notices_lost += 1;
        }
    }

    /// Resets connections whose time is over, and sets the timer for the next deadline. Call it
    /// last in each round.
    pub(super) fn set_timer(&mut self, sockets: BorrowedFd<'_>) -> io::Result<()> {
        let now = clock::monotonic();
        let pause_over = self.follow_pause(sockets, now)?;
        let next = self.connections.expire(now).into_iter().chain(pause_over).min();
        // A timer that expires too early is harmless; it is set again then.
        let Some(next) = next.filter(|next| self.timer_set.is_none_or(|set| *next < set)) else {
            return Ok(());
        };
        let wait = next.since(now).max(Duration::from_millis(1));
        self.timer.arm(wait)?;
        self.timer_set = Some(next);
        Ok(())
    }

    /// Disables the events of the bound sockets during a pause. Returns the end of the pause.
    fn follow_pause(
        &mut self,
        sockets: BorrowedFd<'_>,
        now: Instant,
    ) -> io::Result<Option<Instant>> {
        let Some(until) = self.paused_until else { return Ok(None) };
        let over = until <= now;
        self.events.modify(sockets, SOCKETS, if over { Watch::In } else { Watch::Nothing })?;
        if over {
            self.paused_until = None;
        }
        Ok(self.paused_until)
    }
}

impl AsFd for Acceptor {
    /// Returns a descriptor that is readable when a drain has work to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

/// Returns whether an error of accept(2) concerns only the connection that it removed from the
/// queue. Linux returns pending network errors of the connection there.
fn is_of_the_connection(error: Errno) -> bool {
    matches!(
        error,
        Errno::CONNABORTED
            | Errno::PROTO
            | Errno::PERM
            | Errno::NETDOWN
            | Errno::NOPROTOOPT
            | Errno::HOSTDOWN
            | Errno::NONET
            | Errno::HOSTUNREACH
            | Errno::OPNOTSUPP
            | Errno::NETUNREACH
    )
}

fn spare() -> Option<OwnedFd> {
    open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()
}
