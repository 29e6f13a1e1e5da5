//! Connect mode: sockets bound to the monitored ports, which accept connections and datagrams
//! and may reply with a banner.
//!
//! [`ConnectSensor`] binds the ports, hands out each connection and datagram as an observation,
//! and replies as its owner decides. It never waits for a peer. Peers can increase the numbers of
//! open connections, replies and notices, so these are bounded and counted. It prints nothing:
//! messages to the administrator are [`ConnectNotice`]s.

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

/// Name of the sensor.
const NAME: &str = "connect mode";

/// Maximum number of sockets, and of connections, handled in one round.
const ROUND: usize = 256;

/// Ports to bind, and how to reply.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConnectOptions {
    /// The TCP ports to watch.
    pub tcp_ports: PortSet,
    /// The UDP ports to watch.
    pub udp_ports: PortSet,
    /// The addresses to bind to. Here `::` covers only IPv6, and `0.0.0.0` only IPv4. If empty,
    /// binds to all addresses of both families.
    pub addresses: Vec<IpAddr>,
    /// Bytes to send if the owner decides for [`Reply::Banner`]. If empty, nothing is sent.
    pub banner: Vec<u8>,
    /// Limits of the replies.
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
    /// Maximum number of open connections; a new one closes the oldest. Lower if the limit of
    /// open files requires it.
    pub connections: usize,
    /// Maximum time in which a peer has to read the banner and close.
    pub patience: Duration,
    /// Maximum number of replies to datagrams per minute, for each /24 of IPv4 and /64 of IPv6.
    pub answers_per_network: u32,
    /// Maximum number of replies to datagrams per minute, in total.
    pub answers: u32,
}

impl Default for ConnectLimits {
    /// Returns 1,024 connections of 5 s, 10 replies per network and 100 in total.
    fn default() -> Self {
        Self {
            connections: 1024,
            patience: Duration::from_secs(5),
            answers_per_network: 10,
            answers: 100,
        }
    }
}

/// Reply to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// Sends the banner, if there is one, and closes a connection.
    Banner,
    /// Sends nothing, and closes a connection.
    Nothing,
}

/// Sockets on all monitored ports, as one sensor with one descriptor.
///
/// Open connections are closed when the sensor is dropped.
pub struct ConnectSensor {
    bound: BoundSockets,
    acceptor: Acceptor,
    /// Maximum number of open connections.
    capacity: usize,
    /// Number of datagrams that sockets lost before they were closed.
    dropped: u64,
    /// Number of queue overflows in the network namespace before the sensor was opened.
    overflows_before: u64,
}

impl ConnectSensor {
    /// Binds the ports in the network namespace of the calling thread, and raises the limit of
    /// open files of this process if needed. Calls `notify` with the result for each port. About
    /// 20 us per port.
    ///
    /// # Errors
    ///
    /// - [`SensorError::DescriptorLimit`] if the limit of open files cannot be raised far enough,
    /// - [`SensorError::MissingPrivilege`] or [`SensorError::NoPortBound`] if no port could be
    ///   bound,
    /// - [`SensorError::Io`] if the system has no resources for the sockets.
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
        // Last, because binding is slower once another epoll set watches the set of the sockets.
        let acceptor = Acceptor::new(bound.descriptor(), banner, &limits).map_err(io_error)?;
        Ok(Self {
            bound,
            acceptor,
            capacity,
            dropped: 0,
            overflows_before: losses::overflows().unwrap_or(0),
        })
    }

    /// Raises the limit of open files as far as [`set_ports`](Self::set_ports) would need it.
    /// Changes nothing else.
    ///
    /// # Errors
    ///
    /// [`SensorError::DescriptorLimit`] if the limit cannot be raised far enough.
    pub fn make_room(&self, tcp_ports: &PortSet, udp_ports: &PortSet) -> Result<(), SensorError> {
        let sockets = self.bound.needed(tcp_ports, udp_ports);
        descriptors::make_room(sockets, self.capacity).map(drop)
    }

    /// Watches these ports from now on. Closes the sockets of other ports, and binds ports that
    /// are not bound, including those that failed before. Unread packets of a closed socket are
    /// lost.
    ///
    /// # Errors
    ///
    /// [`SensorError::Io`] if the system has no resources for more sockets. Ports that are bound
    /// by then are watched.
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

    /// Sends `banner` from now on.
    pub fn set_banner(&mut self, banner: Vec<u8>) {
        self.acceptor.set_banner(banner);
    }

    /// Returns the bound ports, in no particular order.
    pub fn bound(&self) -> impl Iterator<Item = Endpoint> {
        self.bound.iter().map(|bound| bound.endpoint)
    }

    /// Accepts about `budget` connections and datagrams, as [`Sensor::drain`] does, and sends the
    /// reply that `decide` returns for each.
    ///
    /// # Errors
    ///
    /// If epoll returns an error.
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

    /// Returns the oldest notice. Call it after each drain until it returns `None`.
    pub fn poll_notice(&mut self) -> Option<ConnectNotice> {
        self.acceptor.poll_notice()
    }

    /// Returns counters of connections and datagrams since the sensor was opened.
    pub fn answers(&self) -> ConnectStats {
        self.acceptor.stats()
    }

    /// Returns the number of datagrams that open and closed sockets lost.
    fn dropped_datagrams(&self) -> u64 {
        let mut inodes: Vec<u64> = self.bound.iter().filter_map(|it| it.inode).collect();
        inodes.sort_unstable();
        let dropped = losses::dropped_datagrams(&inodes).unwrap_or_else(|error| {
            log::warn!("cannot read the number of lost datagrams: {error}");
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

    /// Accepts connections and datagrams without a reply. To reply, use
    /// [`drain_answering`](Self::drain_answering).
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

    /// Returns the counters, in which a packet is a connection or a datagram. The drops of the
    /// kernel are datagrams at full buffers, and connection attempts at full queues. The latter
    /// include those of all other programs in the network namespace. Reads tables of the kernel,
    /// which takes a few microseconds for each UDP port.
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
