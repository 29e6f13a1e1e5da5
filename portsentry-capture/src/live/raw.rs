//! Capture through a packet socket of our own and the ring that it shares with
//! the kernel. It needs no library.
//!
//! The kernel fills blocks of the ring and wakes the reader when one is full or
//! the latency is over, so a burst costs a few system calls and a lone packet
//! waits a few milliseconds. Every interface has a ring of its own.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use portsentry_core::{Instant, Observation};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with, sockopt};

use super::block::{Cursor, RingPacket};
use super::bpf::{self, IPV4, IPV6, PACKET_OTHERHOST, PACKET_OUTGOING, VLAN_TAGS};
use super::for_host::decode_for_host;
use super::packet_socket::{self, RxRing};
use super::{CaptureOptions, LiveBackend, LiveSensor, Watched};
use crate::{
    Decoder, Drained, Frame, Interface, LinkType, Packet, Rejected, Sensor, SensorError,
    SensorStats, Tally, clock,
};

/// VLAN tags that are stepped over, the one that the kernel took off included.
const MAX_VLAN_TAGS: usize = 2;

const ETHERNET_HEADER: u32 = 14;

/// Opens [`RawSensor`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct RawBackend {
    options: CaptureOptions,
}

impl RawBackend {
    /// A backend that opens each sensor with `options`.
    pub fn new(options: CaptureOptions) -> Self {
        Self { options }
    }
}

impl LiveBackend for RawBackend {
    /// There is no sensor for all interfaces at once: a socket for all of them
    /// cannot tell where the headers of their links end.
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        let interface = one(interface)?;
        Ok(Box::new(RawSensor::open(interface, self.options, Arc::clone(watched))?))
    }
}

/// The interface, of which there must be one.
pub(super) fn one(interface: Option<&Interface>) -> Result<&Interface, SensorError> {
    let message = "raw sensors read one interface each; watch ALL instead";
    let any = || SensorError::Backend { name: "any".to_owned(), message: message.to_owned() };
    interface.ok_or_else(any)
}

/// A packet socket with a ring, on one interface.
///
/// It hands out packets that came in for one of this host's own addresses and
/// may be probes; traffic of open connections stays in the kernel, and so does
/// what the link layer addresses to another host. The interface is not set
/// promiscuous.
#[derive(Debug)]
pub struct RawSensor {
    ring: RxRing,
    socket: OwnedFd,
    /// The place in the block that is being read.
    cursor: Option<Cursor>,
    frames: Frames,
    received: u64,
    dropped: u64,
}

impl RawSensor {
    /// A sensor on `interface`, for what is `watched`. About 1 ms.
    ///
    /// # Errors
    ///
    /// [`SensorError::MissingPrivilege`] without `CAP_NET_RAW`,
    /// [`SensorError::InterfaceGone`], [`SensorError::NoRoomForBuffer`], or
    /// whatever the kernel says.
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

    /// As [`open`](Self::open), but one of so many that share a buffer and what is
    /// kept of fragments; receives nothing until it is told what is watched.
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

    /// `attach_probe_filter` gives the first filter to the socket, which is told where the
    /// network header is.
    fn open_with(
        interface: &Interface,
        options: CaptureOptions,
        sharing: u16,
        watched: Arc<Watched>,
        attach_probe_filter: impl FnOnce(BorrowedFd<'_>, u32, &Watched) -> io::Result<()>,
    ) -> Result<Self, SensorError> {
        // With the link header only where its length is known, and where there
        // can be tags behind it; from other links the kernel gives IP alone.
        let (kind, network) = match interface.ethernet {
            true => (SocketType::RAW, ETHERNET_HEADER),
            false => (SocketType::DGRAM, 0),
        };
        let failed = |source| explain(interface, options, source);
        // Without a protocol it receives nothing until it is bound, when filter
        // and ring are there.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::PACKET, kind, flags, None)
            .map_err(|error| failed(error.into()))?;
        attach_probe_filter(socket.as_fd(), network, &watched).map_err(failed)?;
        // Older kernels lack it; then the filter holds those packets back.
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
            watched,
            decoder: Decoder::sharing(sharing),
            sharing,
            tally: Tally::default(),
        };
        Ok(Self { ring, socket, cursor: None, frames, received: 0, dropped: 0 })
    }

    /// The socket, for its place in a fanout group.
    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Receives nothing and has received nothing, until it is told what is watched.
    pub(super) fn pause(&mut self) -> Result<(), SensorError> {
        let name = self.frames.name.clone();
        bpf::attach_drop_all(self.socket()).map_err(|source| SensorError::Io { name, source })?;
        while self.drain(usize::MAX, &mut |_| ())? == Drained::More {}
        // What the kernel has counted is read off by this, too.
        self.stats();
        (self.received, self.dropped) = (0, 0);
        self.frames.decoder = Decoder::sharing(self.frames.sharing);
        self.frames.tally = Tally::default();
        Ok(())
    }

    /// The interface has this name now.
    pub(super) fn rename(&mut self, name: &str) {
        name.clone_into(&mut self.frames.name);
    }

    /// Why the socket is readable although no packet came: an interface that
    /// goes down says so, and is waited for; one that is gone does not come back.
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
        let now = clock::monotonic();
        while let Some(block) = self.ring.block() {
            found_block = true;
            let cursor = self.cursor.get_or_insert_with(|| Cursor::new(block));
            while left > 0
                && let Some(packet) = cursor.next(block)
            {
                left -= 1;
                self.frames.process(&packet, now, sink);
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

    /// The kernel does not tell what the interface itself has lost.
    fn stats(&mut self) -> SensorStats {
        // The count that was read last stands when there is none to be had.
        if let Ok(dropped) = packet_socket::dropped_since_asked(self.socket.as_fd()) {
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

impl LiveSensor for RawSensor {
    fn set_watched(&mut self, watched: Arc<Watched>) {
        let Frames { name, network, .. } = &self.frames;
        bpf::attach_probe_filter(self.socket.as_fd(), *network, &watched, name);
        self.frames.watched = watched;
    }
}

/// All but ring and socket, to be borrowed while a block is read.
#[derive(Debug)]
struct Frames {
    name: String,
    index: u32,
    loopback: bool,
    /// Bytes of link header in what the kernel's filter sees.
    network: u32,
    watched: Arc<Watched>,
    decoder: Decoder,
    /// How many share what may be kept of fragments.
    sharing: u16,
    tally: Tally,
}

impl Frames {
    fn process(
        &mut self,
        packet: &RingPacket<'_>,
        now: Instant,
        sink: &mut dyn FnMut(&Observation),
    ) {
        // Only where the kernel had no room for the filter.
        if matches!(packet.packet_type.into(), PACKET_OUTGOING | PACKET_OTHERHOST) {
            return self.tally.add(Rejected::NotForThisHost);
        }
        match self.decode(packet, now) {
            Ok(found) => sink(&found.observation(packet.time, self.index).at(now)),
            Err(kind) => self.tally.add(kind),
        }
    }

    fn decode(&mut self, packet: &RingPacket<'_>, now: Instant) -> Result<Packet, Rejected> {
        let (captured, header) = without_tags(packet)?;
        let frame = Frame {
            link: LinkType::RawIp,
            captured,
            wire_length: packet.length.saturating_sub(header),
            checksum: packet.checksum,
        };
        decode_for_host(&mut self.decoder, &frame, self.loopback, &self.watched, now)
    }
}

/// The IP packet behind the tags that the kernel left in place, and how many
/// bytes of tags there are.
fn without_tags<'a>(packet: &RingPacket<'a>) -> Result<(&'a [u8], usize), Rejected> {
    let mut protocol = packet.protocol;
    let mut bytes = packet.network;
    let mut tags = usize::from(packet.tagged);
    while VLAN_TAGS.contains(&protocol) {
        tags += 1;
        if tags > MAX_VLAN_TAGS {
            return Err(Rejected::TooManyVlanTags);
        }
        let (&[_, _, high, low], behind) = bytes.split_first_chunk().ok_or(Rejected::Truncated)?;
        (protocol, bytes) = (u16::from_be_bytes([high, low]), behind);
    }
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
