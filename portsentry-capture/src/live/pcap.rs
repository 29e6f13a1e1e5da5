//! Capture through libpcap.
//!
//! Packets are read in batches from a ring that libpcap shares with the kernel. The kernel fills
//! blocks of the ring. It wakes the reader when a block is full or the latency is over. So a burst
//! costs few system calls, and a single packet waits a few milliseconds.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

use pcap::{Active, Capture, Direction, Linktype, Precision};
use portsentry_core::{Instant, Observation, Timestamp};
use rustix::io::{Errno, FdFlags, fcntl_setfd};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};

use super::arrival::{Arrivals, Reading};
use super::for_host::{Arrival, decode_for_host};
use super::{
    CaptureOptions, LiveBackend, LiveSensor, MAX_SNAP_LENGTH, Watched, bpf, packet_socket,
};
use crate::{
    ChecksumState, Decoder, Drained, Frame, Interface, LinkType, Packet, Rejected, Sensor,
    SensorError, SensorStats, Tally,
};

/// libpcap's name for all interfaces.
const ANY: &str = "any";

/// Opens [`PcapSensor`]s.
#[derive(Clone, Copy, Debug, Default)]
pub struct PcapBackend {
    options: CaptureOptions,
}

impl PcapBackend {
    /// Creates a backend that opens each sensor with `options`.
    pub fn new(options: CaptureOptions) -> Self {
        Self { options }
    }
}

impl LiveBackend for PcapBackend {
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        let watched = Arc::clone(watched);
        Ok(Box::new(match interface {
            Some(interface) => PcapSensor::open(interface, self.options, watched)?,
            None => PcapSensor::open_any(self.options, watched)?,
        }))
    }
}

/// A libpcap capture on one interface, or on `any`.
///
/// It hands out incoming packets for the watched addresses that may be probes. The kernel
/// filters out traffic of open connections. The interface is not set promiscuous.
pub struct PcapSensor {
    capture: Capture<Active>,
    frames: Frames,
    losses: Losses,
    received: u64,
}

impl PcapSensor {
    /// Opens a capture on `interface` for the `watched` addresses and ports. About 5 ms.
    ///
    /// # Errors
    ///
    /// [`SensorError::MissingPrivilege`] without `CAP_NET_RAW`,
    /// [`SensorError::InterfaceGone`], [`SensorError::UnsupportedLinkType`], or any other error
    /// of libpcap.
    pub fn open(
        interface: &Interface,
        options: CaptureOptions,
        watched: Arc<Watched>,
    ) -> Result<Self, SensorError> {
        let place = Place::Interface { index: interface.index, loopback: interface.loopback };
        Self::activate(&interface.name, place, options, watched)
    }

    /// Opens one capture on all interfaces. Observations have the index of their interface if
    /// libpcap reports it (version 1.10 and later).
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_any(options: CaptureOptions, watched: Arc<Watched>) -> Result<Self, SensorError> {
        Self::activate(ANY, Place::Any, options, watched)
    }

    fn activate(
        name: &str,
        place: Place,
        options: CaptureOptions,
        watched: Arc<Watched>,
    ) -> Result<Self, SensorError> {
        let explain = |error| explain(name, place, &error);
        let mut capture = activated(name, options).map_err(explain)?;
        if place == Place::Any {
            // Version 2 of the cooked header contains the interface. Older libraries support only
            // version 1.
            let _ = capture.set_datalink(Linktype(276));
        }
        let number = capture.get_datalink().0;
        let link = LinkType::from_dlt(number)
            .ok_or_else(|| SensorError::UnsupportedLinkType { name: name.to_owned(), number })?;
        // libpcap does not prevent that child processes inherit the descriptor.
        fcntl_setfd(&capture, FdFlags::CLOEXEC)
            .map_err(|source| SensorError::Io { name: name.to_owned(), source: source.into() })?;
        let frames = Frames {
            name: name.to_owned(),
            place,
            link,
            decoder: Decoder::sharing(1, &watched.fragments),
            watched,
            arrivals: Arrivals::default(),
            tally: Tally::default(),
        };
        bpf::attach_probe_filter(capture.as_fd(), frames.network(), &frames.watched, name);
        // Older kernels lack the option; then the filter drops those packets.
        let _ = packet_socket::ignore_outgoing(capture.as_fd());
        // The same for packets that arrived before the filter was attached.
        capture.direction(Direction::In).map_err(explain)?;
        Ok(Self { capture, frames, losses: Losses::default(), received: 0 })
    }
}

impl Sensor for PcapSensor {
    fn name(&self) -> &str {
        &self.frames.name
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.capture.as_fd())
    }

    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        let budget = budget.clamp(1, i32::MAX as usize);
        let (frames, reading) = (&mut self.frames, Reading::now());
        frames.expire(reading, sink);
        let read = self.capture.dispatch(Some(budget), |frame| {
            let time = Timestamp::from_nanos(nanoseconds(frame.header));
            match frames.decode(frame.data, frame.header.len as usize, reading.monotonic()) {
                Ok(packet) => {
                    let at = frames.arrivals.next(time, reading);
                    sink(&packet.observation(time, frames.place.index()).at(at));
                }
                Err(kind) => {
                    frames.tally.add(kind);
                    frames.hand_out_unfinished(time, reading, sink);
                }
            }
        });
        let read = read.map_err(|error| explain(&frames.name, frames.place, &error))?;
        self.received += read as u64;
        Ok(if read < budget { Drained::Empty } else { Drained::More })
    }

    /// libpcap reads the losses of the interface itself only for promiscuous captures, so they
    /// are 0 here.
    fn stats(&mut self) -> SensorStats {
        // After an error, the last counters remain.
        if let Ok(stat) = self.capture.stats() {
            self.losses.update(stat.dropped, stat.if_dropped);
        }
        SensorStats {
            received: self.received,
            dropped_by_kernel: self.losses.kernel,
            dropped_by_interface: self.losses.interface,
            tally: self.frames.tally.clone(),
            reassembly: self.frames.decoder.stats(),
            ..SensorStats::default()
        }
    }
}

impl AsFd for PcapSensor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.capture.as_fd()
    }
}

impl AsRawFd for PcapSensor {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl LiveSensor for PcapSensor {
    fn expire(&mut self, sink: &mut dyn FnMut(&Observation)) -> bool {
        self.frames.expire(Reading::now(), sink);
        self.frames.decoder.has_incomplete()
    }

    fn set_watched(&mut self, watched: Arc<Watched>) {
        let network = self.frames.network();
        bpf::attach_probe_filter(self.capture.as_fd(), network, &watched, &self.frames.name);
        self.frames.decoder.set_fragment_limits(&watched.fragments);
        self.frames.watched = watched;
    }
}

impl std::fmt::Debug for PcapSensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PcapSensor").field("name", &self.frames.name).finish_non_exhaustive()
    }
}

/// The interface of a capture, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Interface { index: u32, loopback: bool },
    Any,
}

impl Place {
    fn index(self) -> u32 {
        match self {
            Self::Interface { index, .. } => index,
            Self::Any => 0,
        }
    }
}

/// State of decoding, apart from the capture, which is borrowed while packets are read.
struct Frames {
    name: String,
    place: Place,
    link: LinkType,
    watched: Arc<Watched>,
    decoder: Decoder,
    arrivals: Arrivals,
    tally: Tally,
}

impl Frames {
    fn decode(
        &mut self,
        captured: &[u8],
        wire_length: usize,
        now: Instant,
    ) -> Result<Packet, Rejected> {
        let arrival = match self.place {
            Place::Interface { index, loopback } => {
                Arrival { interface: index, on_loopback: loopback }
            }
            Place::Any => Arrival {
                interface: self.link.interface(captured).unwrap_or(0),
                on_loopback: self.link.marks_loopback(captured),
            },
        };
        // The kernel reports the state of the checksum, but libpcap does not pass it on.
        let checksum = ChecksumState::Unknown;
        let frame = Frame { link: self.link, captured, wire_length, checksum };
        decode_for_host(&mut self.decoder, &frame, arrival, &self.watched, now)
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
            sink(&packet.observation(time, self.place.index()).at(at));
        }
    }

    /// Removes datagrams that have expired.
    fn expire(&mut self, reading: Reading, sink: &mut dyn FnMut(&Observation)) {
        self.decoder.expire(reading.monotonic());
        self.hand_out_unfinished(reading.wall(), reading, sink);
    }

    /// Returns the offset of the network header in the kernel's filter. libpcap adds the headers
    /// of cooked captures after the filter.
    fn network(&self) -> u32 {
        match self.link {
            LinkType::Ethernet => 14,
            _ => 0,
        }
    }
}

/// Counters of losses with 64 bits; those of libpcap have 32 bits and wrap.
#[derive(Debug, Default)]
struct Losses {
    kernel: u64,
    interface: u64,
    last: (u32, u32),
}

impl Losses {
    fn update(&mut self, kernel: u32, interface: u32) {
        self.kernel += u64::from(kernel.wrapping_sub(self.last.0));
        self.interface += u64::from(interface.wrapping_sub(self.last.1));
        self.last = (kernel, interface);
    }
}

/// Returns the time of a packet. With [`Precision::Nano`] the field for microseconds contains
/// nanoseconds.
#[allow(clippy::useless_conversion, reason = "the fields have 32 bits on some targets")]
fn nanoseconds(header: &pcap::PacketHeader) -> i64 {
    let (seconds, nanoseconds) = (i64::from(header.ts.tv_sec), i64::from(header.ts.tv_usec));
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

fn activated(name: &str, options: CaptureOptions) -> Result<Capture<Active>, pcap::Error> {
    let bytes = options.buffer.max(1).saturating_mul(1 << 20);
    let milliseconds = options.latency.as_millis().max(1);
    // The filter cuts most packets shorter. The ring stores packets without gaps (TPACKET_V3), so
    // this length does not reserve memory.
    Capture::from_device(name)?
        .promisc(false)
        .immediate_mode(false)
        .snaplen(MAX_SNAP_LENGTH.cast_signed())
        .buffer_size(bytes.try_into().unwrap_or(i32::MAX))
        .timeout(milliseconds.try_into().unwrap_or(i32::MAX))
        .precision(Precision::Nano)
        .open()?
        .setnonblock()
}

/// Determines the cause of an error of libpcap, which reports only a text.
fn explain(name: &str, place: Place, error: &pcap::Error) -> SensorError {
    let name = name.to_owned();
    let probe = match socket(AddressFamily::PACKET, SocketType::DGRAM, None) {
        Ok(probe) => probe,
        Err(Errno::PERM | Errno::ACCESS) => {
            return SensorError::MissingPrivilege { name, capability: "CAP_NET_RAW" };
        }
        Err(source) => return SensorError::Io { name, source: source.into() },
    };
    match place {
        Place::Interface { index, .. }
            if netdevice::name_to_index(&probe, &name).ok() != Some(index) =>
        {
            SensorError::InterfaceGone { name }
        }
        _ => SensorError::Backend { name, message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_continue_after_the_counters_wrap() {
        let mut losses = Losses::default();
        for (kernel, interface) in [(10, 0), (u32::MAX, 7), (4, 7), (4, u32::MAX)] {
            losses.update(kernel, interface);
        }
        assert_eq!(losses.kernel, (1 << 32) + 4);
        assert_eq!(losses.interface, u64::from(u32::MAX));
    }
}
