//! Connect mode: sockets bound to the monitored ports, which take connections
//! and datagrams and may answer them with a banner.
//!
//! [`ConnectSensor`] binds the ports, tells of each connection and datagram as
//! an observation, and answers as its owner decides. It never blocks on a peer,
//! and whatever peers can make grow (open connections, answers, notices) is
//! bounded and counted. It prints nothing: what is to be said besides
//! observations is a [`ConnectNotice`].

mod acceptor;
mod answer_limit;
mod bound;
mod connections;
mod datagrams;
mod descriptors;
mod local_ports;
mod losses;
mod notice;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use portsentry_core::{Observation, PortSet, Protocol};
use rustix::io::Errno;

use crate::reactor::Ready;
use crate::{Drained, Sensor, SensorError, SensorStats};

pub use acceptor::ConnectStats;
pub use notice::{ConnectNotice, Endpoint};

use acceptor::Acceptor;
use bound::BoundSockets;

/// What the sensor is called.
const NAME: &str = "connect mode";

/// Sockets and connections that are looked at in one round.
const ROUND: usize = 256;

/// What to bind and how to answer.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The TCP ports to watch.
    pub tcp_ports: PortSet,
    /// The UDP ports to watch.
    pub udp_ports: PortSet,
    /// The addresses to bind to, each for itself alone: `::` is IPv6 then, and
    /// `0.0.0.0` IPv4. Empty: every address of this host, of both families.
    pub addresses: Vec<IpAddr>,
    /// What a peer is sent when the owner decides for [`Reply::Banner`]. Empty:
    /// nothing.
    pub banner: Vec<u8>,
    /// What bounds the answers.
    pub limits: ConnectLimits,
}

impl ConnectOptions {
    /// Binds these ports at all addresses of this host, without a banner.
    #[must_use]
    pub fn new(tcp_ports: PortSet, udp_ports: PortSet) -> Self {
        Self { tcp_ports, udp_ports, ..Self::default() }
    }

    /// Sets the addresses to bind to.
    #[must_use]
    pub fn with_addresses(self, addresses: impl Into<Vec<IpAddr>>) -> Self {
        Self { addresses: addresses.into(), ..self }
    }

    /// Sets the banner for peers that get one.
    #[must_use]
    pub fn with_banner(self, banner: impl Into<Vec<u8>>) -> Self {
        Self { banner: banner.into(), ..self }
    }

    /// Sets the limits of replies.
    #[must_use]
    pub const fn with_limits(mut self, limits: ConnectLimits) -> Self {
        self.limits = limits;
        self
    }
}

/// Limits of the replies of a [`ConnectSensor`]. Fields can be assigned after
/// [`default`](Self::default).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectLimits {
    /// Connections that may be open at a time; the oldest makes room. Fewer if
    /// the limit of open files has it so.
    pub connections: usize,
    /// How long one connection may take to read its banner and close.
    pub patience: Duration,
    /// Datagrams that are answered in a minute, for each /24 of IPv4 and /64 of
    /// IPv6.
    pub answers_per_network: u32,
    /// Datagrams that are answered in a minute, in all.
    pub answers: u32,
}

impl Default for ConnectLimits {
    /// 1,024 connections of 5 s, 10 and 100 answers.
    fn default() -> Self {
        Self {
            connections: 1024,
            patience: Duration::from_secs(5),
            answers_per_network: 10,
            answers: 100,
        }
    }
}

/// What a peer gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The banner, if there is one; then a connection is closed.
    Banner,
    /// Nothing; a connection is closed.
    Nothing,
}

/// Sockets on all monitored ports, as one sensor with one descriptor.
///
/// Connections that are open when it is dropped are closed.
pub struct ConnectSensor {
    bound: BoundSockets,
    acceptor: Acceptor,
    /// The most connections that may be open.
    capacity: usize,
    /// What sockets that were closed had lost, and what others had lost before
    /// the sensor was opened.
    dropped: u64,
    overflows_before: u64,
}

impl ConnectSensor {
    /// Binds the ports, in the network namespace of the calling thread, and
    /// raises this process's limit of open files if that is needed. `notify`
    /// hears what became of each port; about 20 us a port.
    ///
    /// # Errors
    ///
    /// [`SensorError::DescriptorLimit`]; when no port at all could be bound,
    /// [`SensorError::MissingPrivilege`] or [`SensorError::NoPortBound`];
    /// [`SensorError::Io`] when the system has no room for the sockets.
    pub fn open(
        options: ConnectOptions,
        notify: &mut dyn FnMut(&ConnectNotice),
    ) -> Result<Self, SensorError> {
        let ConnectOptions { tcp_ports, udp_ports, addresses, banner, limits } = options;
        let mut bound = BoundSockets::new(&addresses)?;
        let sockets = bound.needed(&tcp_ports, &udp_ports);
        let capacity = descriptors::make_room(sockets, limits.connections)?;
        let mut denied = false;
        bound.bind_missing(&tcp_ports, &udp_ports, &mut |notice| {
            denied |= matches!(notice, ConnectNotice::NotBound { errno, .. }
                if *errno == Errno::ACCESS.raw_os_error());
            notify(notice);
        })?;
        if bound.is_empty() {
            let name = NAME.to_owned();
            return Err(match denied {
                true => SensorError::MissingPrivilege { name, capability: "CAP_NET_BIND_SERVICE" },
                false => SensorError::NoPortBound { name },
            });
        }
        local_ports::warn_if_taken(&tcp_ports, &udp_ports);
        let limits = ConnectLimits { connections: capacity, ..limits };
        // Last: ports are bound faster while nobody waits for them.
        let acceptor = Acceptor::new(bound.descriptor(), banner, &limits).map_err(io_error)?;
        Ok(Self {
            bound,
            acceptor,
            capacity,
            dropped: 0,
            overflows_before: losses::overflows().unwrap_or(0),
        })
    }

    /// Makes sure that [`set_ports`](Self::set_ports) would find descriptors
    /// enough; changes nothing but the limit of open files.
    ///
    /// # Errors
    ///
    /// [`SensorError::DescriptorLimit`].
    pub fn make_room(&self, tcp_ports: &PortSet, udp_ports: &PortSet) -> Result<(), SensorError> {
        let sockets = self.bound.needed(tcp_ports, udp_ports);
        descriptors::make_room(sockets, self.capacity).map(drop)
    }

    /// Watches these ports from now on: others are closed, and those that are
    /// not bound yet, be it for want of luck, are bound. Between the two, what
    /// waits in a socket that is closed is lost.
    ///
    /// # Errors
    ///
    /// [`SensorError::Io`] when the system has no room for more sockets; those
    /// that are bound are watched.
    pub fn set_ports(
        &mut self,
        tcp_ports: &PortSet,
        udp_ports: &PortSet,
        notify: &mut dyn FnMut(&ConnectNotice),
    ) -> Result<(), SensorError> {
        let before = self.dropped_datagrams();
        self.bound.close_others(tcp_ports, udp_ports);
        self.dropped += before.saturating_sub(self.dropped_datagrams());
        self.bound.bind_missing(tcp_ports, udp_ports, notify)?;
        local_ports::warn_if_taken(tcp_ports, udp_ports);
        Ok(())
    }

    /// Answers with `banner` from now on.
    pub fn set_banner(&mut self, banner: Vec<u8>) {
        self.acceptor.set_banner(banner);
    }

    /// The ports that are bound, in no order.
    pub fn bound(&self) -> impl Iterator<Item = Endpoint> {
        self.bound.iter().map(|bound| bound.endpoint)
    }

    /// Takes about `budget` connections and datagrams, as
    /// [`Sensor::drain`] does, and answers each as `decide` says.
    ///
    /// # Errors
    ///
    /// When the system refuses to tell what is ready.
    pub fn drain_answering(
        &mut self,
        budget: usize,
        decide: &mut dyn FnMut(&Observation) -> Reply,
    ) -> Result<Drained, SensorError> {
        let round = self.acceptor.advance_connections::<ROUND>().map_err(io_error)?;
        let mut more = round.more;
        if round.sockets_ready {
            let ready: Ready<ROUND> = self.bound.ready().map_err(io_error)?;
            more |= ready.is_full();
            let share = (budget / ready.count().max(1)).max(1);
            for index in ready.tokens() {
                let Some(bound) = self.bound.get(index) else { continue };
                if self.acceptor.pauses() {
                    break;
                }
                more |= match bound.endpoint.protocol {
                    Protocol::Tcp => self.acceptor.accept(bound, share, decide),
                    Protocol::Udp => self.acceptor.receive(bound, share, decide),
                }
                .map_err(io_error)?;
            }
        }
        let sockets = self.bound.descriptor();
        self.acceptor.set_timer(sockets).map_err(io_error)?;
        Ok(if more { Drained::More } else { Drained::Empty })
    }

    /// The next thing to be said, oldest first. To be asked after each drain.
    pub fn poll_notice(&mut self) -> Option<ConnectNotice> {
        self.acceptor.poll_notice()
    }

    /// What became of connections and datagrams since the sensor was opened.
    pub fn answers(&self) -> ConnectStats {
        self.acceptor.stats()
    }

    /// Of the sockets that are open and of those that were closed.
    fn dropped_datagrams(&self) -> u64 {
        let mut inodes: Vec<u64> = self.bound.iter().filter_map(|it| it.inode).collect();
        inodes.sort_unstable();
        let dropped = losses::dropped_datagrams(&inodes).unwrap_or_else(|error| {
            log::warn!("cannot tell how many datagrams were lost: {error}");
            0
        });
        self.dropped + dropped
    }
}

impl Sensor for ConnectSensor {
    fn name(&self) -> &str {
        NAME
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.acceptor.as_fd())
    }

    /// Takes connections and datagrams and answers none:
    /// [`drain_answering`](Self::drain_answering) for an owner who does not
    /// decide.
    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        self.drain_answering(budget, &mut |observation| {
            sink(observation);
            Reply::Nothing
        })
    }

    /// A packet here is a connection or a datagram. Dropped by the kernel are
    /// datagrams that found a buffer full, and tries to open a connection that
    /// found a queue full; the latter are counted for all programs in the
    /// network namespace together. Reads tables of the kernel: some
    /// microseconds for each UDP port.
    fn stats(&mut self) -> SensorStats {
        let overflows = losses::overflows().unwrap_or(0).saturating_sub(self.overflows_before);
        let dropped_by_kernel = self.dropped_datagrams() + overflows;
        SensorStats { dropped_by_kernel, ..self.acceptor.sensor_stats() }
    }
}

impl AsFd for ConnectSensor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.acceptor.as_fd()
    }
}

impl AsRawFd for ConnectSensor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for ConnectSensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectSensor")
            .field("bound", &self.bound().count())
            .field("stats", &self.answers())
            .finish_non_exhaustive()
    }
}

fn io_error(source: impl Into<io::Error>) -> SensorError {
    SensorError::Io { name: NAME.to_owned(), source: source.into() }
}
