//! Live capture: sensors on interfaces, and the set that keeps them in step
//! with the kernel.
//!
//! A [`LiveBackend`] knows one way to capture ([`PcapBackend`] is libpcap's) and
//! opens one [`LiveSensor`] per interface; [`SensorSet`] decides which
//! interfaces, follows what comes and goes, and is itself a [`Sensor`]. Nothing
//! here decides what an observation means.

mod duplicates;
#[cfg(feature = "pcap")]
mod filter;
#[cfg(feature = "pcap")]
mod pcap;
mod plan;
mod set;

use std::sync::Arc;
use std::time::Duration;

use portsentry_core::Networks;

use crate::{Interface, Sensor, SensorError};

#[cfg(feature = "pcap")]
pub use self::pcap::{PcapBackend, PcapSensor};
pub use set::SensorSet;

/// A sensor on one interface, or on all at once.
pub trait LiveSensor: Sensor {
    /// Observe packets to these addresses alone, from now on.
    fn set_own_addresses(&mut self, own: Arc<Networks>);
}

/// A way to capture.
pub trait LiveBackend {
    /// Opens a sensor on `interface`, `None` for all interfaces at once, for
    /// packets to the addresses `own`.
    ///
    /// # Errors
    ///
    /// [`SensorError::MissingPrivilege`] when no interface can be opened by
    /// this process; anything else is about this interface alone.
    fn open(
        &mut self,
        interface: Option<&Interface>,
        own: &Arc<Networks>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError>;
}

/// How to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureOptions {
    /// Room for packets that wait to be read, in MiB for each interface; it is
    /// memory of the kernel's. At least 1.
    pub buffer: u32,
    /// How long a packet may wait before the reader is woken, so that one
    /// wake-up serves many packets; whole milliseconds, at least 1. It is also
    /// how late a response may begin.
    pub latency: Duration,
}

impl Default for CaptureOptions {
    /// 8 MiB and 5 ms.
    ///
    /// Under load the kernel begins a new block of 256 KiB each time that the
    /// latency is over, full or not. So a reader may be held up for 32 blocks
    /// of 5 ms, or 160 ms, before packets are lost, or for 36,000 probes if
    /// those come first. Of SYNs that came for two seconds at 118,000 a second,
    /// half were handed out within 2.6 ms and the last within 8.1.
    fn default() -> Self {
        Self { buffer: 8, latency: Duration::from_millis(5) }
    }
}
