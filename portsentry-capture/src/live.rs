//! Live capture: sensors on interfaces, and the set that follows the kernel's interfaces.
//!
//! A [`LiveBackend`] is a method of capture: `PcapBackend` uses libpcap, `RawBackend` packet
//! sockets. It opens one [`LiveSensor`] for each interface. A [`SensorSet`] selects the
//! interfaces, follows their changes, and is itself a [`Sensor`].

mod accepted;
#[cfg(any(feature = "pcap", feature = "raw"))]
mod arrival;
#[cfg(feature = "raw")]
mod block;
pub(crate) mod bpf;
mod duplicates;
#[cfg(any(feature = "pcap", feature = "raw"))]
mod for_host;
mod losses;
mod packet_socket;
#[cfg(feature = "pcap")]
mod pcap;
mod plan;
#[cfg(feature = "raw")]
mod raw;
#[cfg(feature = "rings")]
mod rings;
mod set;
mod solicited;
#[cfg(feature = "rings")]
mod source_hash;
mod suppress;
mod watched;

use std::sync::Arc;
use std::time::Duration;

use portsentry_core::Observation;

use crate::{Interface, Sensor, SensorError};

#[cfg(feature = "pcap")]
pub use self::pcap::{PcapBackend, PcapSensor};
pub use losses::InterfaceLoss;
#[cfg(any(feature = "pcap", feature = "raw"))]
pub(crate) use packet_socket::ignore_outgoing;
#[cfg(feature = "raw")]
pub use raw::{RawBackend, RawSensor};
#[cfg(feature = "rings")]
pub use rings::RingBackend;
pub use set::{SensorSet, SensorSetBuilder};
#[cfg(feature = "rings")]
pub use source_hash::SourceHash;
pub use watched::Watched;

/// Maximum number of captured bytes of most frames. A checksum can be verified only over a whole
/// packet, and most packets have at most 1,500 bytes. The kernel does not pad shorter packets.
#[cfg(any(feature = "pcap", feature = "raw"))]
const SNAP_LENGTH: u32 = 2048;

/// Maximum number of captured bytes of frames whose headers can be as long as the packet: IPv6 with
/// extension headers, and many tags. Longer than any packet, so the MTU is the limit. The
/// kernel also cuts a frame at the end of a block of the ring.
#[cfg(any(feature = "pcap", feature = "raw"))]
const MAX_SNAP_LENGTH: u32 = 1 << 18;

/// A sensor on one interface, or on all.
pub trait LiveSensor: Sensor {
    /// Watches these addresses and ports from now on. The change loses no packet.
    fn set_watched(&mut self, watched: Arc<Watched>);

    /// Hands out the packets of incomplete datagrams that have expired, and returns whether others
    /// wait. [`drain`](Sensor::drain) does so too, but an idle sensor is not drained. By default
    /// there are none.
    fn expire(&mut self, _sink: &mut dyn FnMut(&Observation)) -> bool {
        false
    }

    /// Closes the sensor, which is not read any more. Its counters were already read. Packets
    /// that it still holds are dropped by default.
    fn close(self: Box<Self>) {}
}

/// A method of capture.
pub trait LiveBackend {
    /// Opens a sensor for the `watched` addresses and ports on `interface`, or on all interfaces
    /// if `None`.
    ///
    /// # Errors
    ///
    /// [`SensorError::MissingPrivilege`] if this process cannot open any interface; all other
    /// errors concern only this interface.
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError>;

    /// Returns a sensor to read in addition to those of the interfaces. It must have a
    /// descriptor. Called once; most backends have none.
    fn auxiliary_sensor(&mut self) -> Option<Box<dyn Sensor + Send>> {
        None
    }

    /// Returns whether the set logs which interfaces it watches and which it cannot. Several
    /// sets that watch the same interfaces need only one that logs them.
    fn logs_interfaces(&self) -> bool {
        true
    }
}

impl<B: LiveBackend + ?Sized> LiveBackend for Box<B> {
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        (**self).open(interface, watched)
    }

    fn auxiliary_sensor(&mut self) -> Option<Box<dyn Sensor + Send>> {
        (**self).auxiliary_sensor()
    }

    fn logs_interfaces(&self) -> bool {
        (**self).logs_interfaces()
    }
}

/// Settings of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureOptions {
    /// Size of the buffer for unread packets, in MiB of kernel memory for each interface. At
    /// least 1.
    pub buffer: u32,
    /// Maximum time that a packet waits before the reader is woken, so that one wake-up serves
    /// many packets. Whole milliseconds, at least 1. It delays responses by up to this time.
    pub latency: Duration,
}

impl CaptureOptions {
    /// Sets the size of the buffer, in MiB.
    #[must_use]
    pub const fn with_buffer(self, mebibytes: u32) -> Self {
        Self { buffer: mebibytes, ..self }
    }

    /// Sets the maximum time that a packet waits before the reader is woken.
    #[must_use]
    pub const fn with_latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }
}

impl Default for CaptureOptions {
    /// Returns 8 MiB and 5 ms.
    ///
    /// Under load the kernel starts a new block each time the latency is over, even if the last
    /// one is not full. libpcap has blocks of 256 KiB. So packets are lost if the reader stops
    /// for 32 blocks of 5 ms (160 ms), or for 36,000 probes if these arrive faster. In a
    /// measurement with 118,000 SYNs per second for two seconds, half were handed out within
    /// 2.6 ms and all within 8.1 ms.
    ///
    /// Raw sensors have blocks of 64 KiB, so their limits are 640 ms or 60,000 probes. For a
    /// shorter latency or a smaller buffer they use smaller blocks, so this buffer lasts half a
    /// second at any latency.
    fn default() -> Self {
        Self { buffer: 8, latency: Duration::from_millis(5) }
    }
}
