//! Capture through a packet socket and the ring that it shares with the kernel, without any
//! library.
//!
//! The kernel fills blocks of the ring. It wakes the reader when a block is full or the latency
//! is over. So a burst costs few system calls, and a single packet waits a few milliseconds.
//! Each interface has its own ring.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::Arc;

use portsentry_core::{Instant, Observation, Timestamp};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with, sockopt};

use super::arrival::{Arrivals, Reading};
use super::block::{Cursor, RingPacket};
use super::bpf::{self, PACKET_OTHERHOST, PACKET_OUTGOING};
use super::for_host::{Arrival, decode_for_host};
use super::packet_socket::{self, RxRing};
use super::{CaptureOptions, LiveBackend, LiveSensor, Watched};
use crate::decode::ether_type::{IPV4, IPV6, skip_tags};
use crate::{
    Decoder, Drained, Frame, Interface, LinkType, Packet, Rejected, Sensor, SensorError,
    SensorStats, Tally,
};

const ETHERNET_HEADER: u32 = 14;

/// Opens [`RawSensor`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawBackend {
    options: CaptureOptions,
}

impl RawBackend {
    /// Creates a backend that opens each sensor with `options`.
    pub fn new(options: CaptureOptions) -> Self {
        Self { options }
    }
}

impl LiveBackend for RawBackend {
    /// Opens one interface. A socket for all interfaces would not know where their link headers
    /// end.
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        let interface = one(interface)?;
        Ok(Box::new(RawSensor::open(interface, self.options, Arc::clone(watched))?))
    }
}

/// Returns the interface, or the error for a backend that cannot read all with one sensor.
pub(super) fn one(interface: Option<&Interface>) -> Result<&Interface, SensorError> {
    let message = "raw sensors read one interface each; watch ALL instead";
    let any = || SensorError::Backend { name: "any".to_owned(), message: message.to_owned() };
    interface.ok_or_else(any)
}

/// A packet socket with a ring, on one interface.
///
/// It hands out incoming packets for the watched addresses that may be probes. The kernel
/// filters out traffic of open connections and frames for other hosts. The interface is not
/// set promiscuous.
#[derive(Debug)]
pub struct RawSensor {
    ring: RxRing,
    socket: OwnedFd,
    /// Position in the current block.
    cursor: Option<Cursor>,
    frames: Frames,
    received: u64,
    dropped: u64,
}

impl RawSensor {
    /// Opens a sensor on `interface` for the `watched` addresses and ports. About 1 ms.
    ///
    /// # Errors
    ///
    /// [`SensorError::MissingPrivilege`] without `CAP_NET_RAW`,
    /// [`SensorError::InterfaceGone`], [`SensorError::NoRoomForBuffer`], or
    /// any other error of the kernel.
    pub fn open(
        interface: &Interface,
        options: CaptureOptions,
        watched: Arc<Watched>,
    ) -> Result<Self, SensorError> {
        Self::open_with(interface, options, 1, watched, |socket, network, watched| {
            bpf::attach_probe_filter(socket, network, watched, &interface.name);
            Ok(())
        })
    }

    /// Opens a sensor. `attach_probe_filter` attaches the first filter to the socket; its argument
    /// is the offset of the network header.
    fn open_with(
        interface: &Interface,
        options: CaptureOptions,
        sharing: u16,
        watched: Arc<Watched>,
        attach_probe_filter: impl FnOnce(BorrowedFd<'_>, u32, &Watched) -> io::Result<()>,
    ) -> Result<Self, SensorError> {
        // Ethernet has a header of known length that VLAN tags may follow. From other links
        // the kernel delivers IP packets only.
        let (kind, network) = match interface.ethernet {
            true => (SocketType::RAW, ETHERNET_HEADER),
            false => (SocketType::DGRAM, 0),
        };
        let failed = |source| explain(interface, options, source);
        // Without a protocol the socket receives nothing before `bind`, when filter and ring
        // exist.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, kind, flags, None)
            .map_err(|error| failed(error.into()))?;
        attach_probe_filter(socket.as_fd(), network, &watched).map_err(failed)?;
        // Older kernels lack the option; then the filter drops those packets.
        let _ = packet_socket::ignore_outgoing(socket.as_fd());
        let buffer = (u64::from(options.buffer.max(1)) << 20) / u64::from(sharing.max(1));
        let milliseconds = options.latency.as_millis().max(1).try_into().unwrap_or(u32::MAX);
        let ring = RxRing::new(socket.as_fd(), buffer, milliseconds).map_err(failed)?;
        packet_socket::bind(socket.as_fd(), interface.index).map_err(failed)?;
        let frames = Frames {
            name: interface.name.clone(),
            index: interface.index,
            loopback: interface.loopback,
            network,
            decoder: Decoder::sharing(sharing, &watched.fragments),
            watched,
            arrivals: Arrivals::default(),
            tally: Tally::default(),
        };
        Ok(Self { ring, socket, cursor: None, frames, received: 0, dropped: 0 })
    }

    /// Checks why the socket is readable without a packet. An interface that is down may come
    /// up again; one that was removed does not return.
    fn check(&self) -> Result<(), SensorError> {
        let name = || self.frames.name.clone();
        let error = sockopt::socket_error(&self.socket).unwrap_or(Ok(()));
        if netdevice::index_to_name(&self.socket, self.frames.index).is_err() {
            return Err(SensorError::InterfaceGone { name: name() });
        }
        match error {
            Ok(()) | Err(Errno::NETDOWN) => Ok(()),
            Err(source) => Err(SensorError::Io { name: name(), source: source.into() }),
        }
    }
}

/// For rings of several sensors.
#[cfg(feature = "rings")]
impl RawSensor {
    /// As [`open`](Self::open), for one of `sharing` sensors that share the buffer size and the
    /// memory for fragments. Receives nothing before [`LiveSensor::set_watched`].
    pub(super) fn open_paused(
        interface: &Interface,
        options: CaptureOptions,
        sharing: u16,
    ) -> Result<Self, SensorError> {
        let nothing = Arc::new(Watched::default());
        Self::open_with(interface, options, sharing, nothing, |socket, _, _| {
            bpf::attach_drop_all(socket)
        })
    }

    /// Returns the socket, for its fanout group.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Drops all packets and counters, and receives nothing before
    /// [`LiveSensor::set_watched`].
    pub(super) fn pause(&mut self, sharing: u16) -> Result<(), SensorError> {
        let name = self.frames.name.clone();
        bpf::attach_drop_all(self.socket()).map_err(|source| SensorError::Io { name, source })?;
        while self.drain(usize::MAX, &mut |_| ())? == Drained::More {}
        // Reading resets the counters of the kernel.
        self.stats();
        (self.received, self.dropped) = (0, 0);
        self.frames.decoder = Decoder::sharing(sharing, &self.frames.watched.fragments);
        self.frames.tally = Tally::default();
        Ok(())
    }

    /// Sets the new name of the interface.
    pub(super) fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.frames.name);
    }
}

impl Sensor for RawSensor {
    fn name(&self) -> &str {
        &self.frames.name
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.socket.as_fd())
    }

    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        let budget = budget.max(1);
        let mut left = budget;
        let mut found_block = false;
        let reading = Reading::now();
        self.frames.expire(reading, sink);
        while let Some(block) = self.ring.block() {
            found_block = true;
            let cursor = self.cursor.get_or_insert_with(|| Cursor::new(block));
            while left > 0
                && let Some(packet) = cursor.next(block)
            {
                left -= 1;
                self.frames.process(&packet, reading, sink);
            }
            if left == 0 {
                break;
            }
            self.cursor = None;
            self.ring.release();
        }
        self.received += (budget - left) as u64;
        if !found_block {
            self.check()?;
        }
        Ok(if left == 0 { Drained::More } else { Drained::Empty })
    }

    /// The kernel does not report losses of the interface itself.
    fn stats(&mut self) -> SensorStats {
        // After an error, the last count remains.
        if let Ok(dropped) = packet_socket::take_drops(self.socket.as_fd()) {
            self.dropped += u64::from(dropped);
        }
        SensorStats {
            received: self.received,
            dropped_by_kernel: self.dropped,
            dropped_by_interface: 0,
            tally: self.frames.tally.clone(),
            reassembly: self.frames.decoder.stats(),
            ..SensorStats::default()
        }
    }
}

impl AsFd for RawSensor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for RawSensor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl LiveSensor for RawSensor {
    fn expire(&mut self, sink: &mut dyn FnMut(&Observation)) -> bool {
        self.frames.expire(Reading::now(), sink);
        self.frames.decoder.has_incomplete()
    }

    fn set_watched(&mut self, watched: Arc<Watched>) {
        let Frames { name, network, .. } = &self.frames;
        bpf::attach_probe_filter(self.socket.as_fd(), *network, &watched, name);
        self.frames.decoder.set_fragment_limits(&watched.fragments);
        self.frames.watched = watched;
    }
}

/// State of decoding, apart from ring and socket, which are borrowed while a block is read.
#[derive(Debug)]
struct Frames {
    name: String,
    index: u32,
    loopback: bool,
    /// Length of the link header, in bytes, as the kernel's filter sees packets.
    network: u32,
    watched: Arc<Watched>,
    decoder: Decoder,
    arrivals: Arrivals,
    tally: Tally,
}

impl Frames {
    fn process(
        &mut self,
        packet: &RingPacket<'_>,
        reading: Reading,
        sink: &mut dyn FnMut(&Observation),
    ) {
        // Such packets arrive only if the kernel had no memory for the filter.
        if matches!(packet.packet_type.into(), PACKET_OUTGOING | PACKET_OTHERHOST) {
            return self.tally.add(Rejected::NotForThisHost);
        }
        match self.decode(packet, reading.monotonic()) {
            Ok(found) => {
                let at = self.arrivals.next(packet.time, reading);
                sink(&found.observation(packet.time, self.index).at(at));
            }
            Err(kind) => {
                self.tally.add(kind);
                self.hand_out_unfinished(packet.time, reading, sink);
            }
        }
    }

    /// Hands out the packets of incomplete datagrams that the host may have completed.
    fn hand_out_unfinished(
        &mut self,
        time: Timestamp,
        reading: Reading,
        sink: &mut dyn FnMut(&Observation),
    ) {
        while let Some(packet) = self.decoder.unfinished() {
            let at = self.arrivals.next(time, reading);
            sink(&packet.observation(time, self.index).at(at));
        }
    }

    /// Removes datagrams that have expired.
    fn expire(&mut self, reading: Reading, sink: &mut dyn FnMut(&Observation)) {
        self.decoder.expire(reading.monotonic());
        self.hand_out_unfinished(reading.wall(), reading, sink);
    }

    fn decode(&mut self, packet: &RingPacket<'_>, now: Instant) -> Result<Packet, Rejected> {
        let (captured, header) = without_tags(packet)?;
        let frame = Frame {
            link: LinkType::RawIp,
            captured,
            wire_length: packet.length.saturating_sub(header),
            checksum: packet.checksum,
        };
        let arrival = Arrival { interface: self.index, on_loopback: self.loopback };
        decode_for_host(&mut self.decoder, &frame, arrival, &self.watched, now)
    }
}

/// Skips the tags that the kernel left in place. Returns the IP packet and the length of the
/// tags.
fn without_tags<'a>(packet: &RingPacket<'a>) -> Result<(&'a [u8], usize), Rejected> {
    let removed = usize::from(packet.tagged);
    let (protocol, bytes) = skip_tags(packet.protocol, packet.network, removed)?;
    let version = bytes.first().ok_or(Rejected::Truncated)? >> 4;
    match (protocol, version) {
        (IPV4, 4) | (IPV6, 6) => Ok((bytes, packet.network.len() - bytes.len())),
        (IPV4 | IPV6, _) => Err(Rejected::IpVersion),
        _ => Err(Rejected::NotIp),
    }
}

pub(super) fn explain(
    interface: &Interface,
    options: CaptureOptions,
    source: io::Error,
) -> SensorError {
    let name = interface.name.clone();
    match Errno::from_io_error(&source) {
        Some(Errno::PERM | Errno::ACCESS) => {
            SensorError::MissingPrivilege { name, capability: "CAP_NET_RAW" }
        }
        Some(Errno::NODEV | Errno::NXIO) => SensorError::InterfaceGone { name },
        Some(Errno::NOMEM) => SensorError::NoRoomForBuffer { name, mebibytes: options.buffer },
        _ => SensorError::Io { name, source },
    }
}
