//! Live capture: sensors on interfaces, and the set that keeps them in step
//! with the kernel.
//!
//! A [`LiveBackend`] is one way to capture: `PcapBackend` uses libpcap, `RawBackend` packet
//! sockets. It opens one [`LiveSensor`] for each interface. A [`SensorSet`] selects the
//! interfaces, follows their changes, and is itself a [`Sensor`]. Nothing here decides what an
//! observation means.

#[cfg(any(feature = "pcap", feature = "raw"))]
mod arrival;
#[cfg(feature = "raw")]
mod block;
mod bpf;
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

use crate::{Interface, Sensor, SensorError};

#[cfg(feature = "pcap")]
pub use self::pcap::{PcapBackend, PcapSensor};
pub use losses::InterfaceLoss;
#[cfg(feature = "raw")]
pub use raw::{RawBackend, RawSensor};
#[cfg(feature = "rings")]
pub use rings::RingBackend;
pub use set::{SensorSet, SensorSetBuilder};
#[cfg(feature = "rings")]
pub use source_hash::SourceHash;
pub use watched::Watched;

/// Bytes of a frame that are captured at most. A checksum can be verified only
/// over a whole packet, and most are at most 1,500 bytes; the kernel stores what
/// a packet has, not this.
#[cfg(any(feature = "pcap", feature = "raw"))]
const SNAP_LENGTH: u32 = 2048;

/// A sensor on one interface, or on all at once.
pub trait LiveSensor: Sensor {
    /// Watches these addresses and ports from now on. The change loses no packet.
    fn set_watched(&mut self, watched: Arc<Watched>);

    /// Closes the sensor, which is not read any more. Its counters were already read. Packets
    /// that it still holds are dropped by default.
    fn close(self: Box<Self>) {}
}

/// A way to capture.
pub trait LiveBackend {
    /// Opens a sensor on `interface`, `None` for all interfaces at once, for
    /// what is `watched`.
    ///
    /// # Errors
    ///
    /// [`SensorError::MissingPrivilege`] when no interface can be opened by
    /// this process; anything else is about this interface alone.
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

/// How to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CaptureOptions {
    /// Room for packets that wait to be read, in MiB for each interface; it is
    /// memory of the kernel's. At least 1.
    pub buffer: u32,
    /// How long a packet may wait before the reader is woken, so that one
    /// wake-up serves many packets; whole milliseconds, at least 1. It is also
    /// how late a response may begin.
    pub latency: Duration,
}

impl CaptureOptions {
    /// Sets the size of the buffer, in MiB.
    #[must_use]
    pub const fn with_buffer(self, mebibytes: u32) -> Self {
        Self { buffer: mebibytes, ..self }
    }

    /// Sets the longest time that a packet waits before the reader is woken.
    #[must_use]
    pub const fn with_latency(self, latency: Duration) -> Self {
        Self { latency, ..self }
    }
}

impl Default for CaptureOptions {
    /// 8 MiB and 5 ms.
    ///
    /// Under load the kernel begins a new block, of 256 KiB for libpcap, each time that the
    /// latency is over, full or not. So a reader may be held up for 32 blocks
    /// of 5 ms, or 160 ms, before packets are lost, or for 36,000 probes if
    /// those come first. Of SYNs that came for two seconds at 118,000 a second,
    /// half were handed out within 2.6 ms and the last within 8.1.
    ///
    /// Raw sensors have blocks of 64 KiB, so there it is 640 ms, or 60,000 probes; and
    /// smaller ones for a shorter latency or a smaller buffer, so that it is half a second
    /// at any latency with this one.
    fn default() -> Self {
        Self { buffer: 8, latency: Duration::from_millis(5) }
    }
}
