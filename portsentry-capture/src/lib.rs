//! Where attempts to reach a port are seen: the [`Sensor`] trait, the decoding
//! of frames into observations, and the sensors themselves.
//!
//! [`decode()`] turns the bytes of one frame into a [`Packet`] or says by a
//! [`Rejected`] why it gave none; it is pure and does not allocate. A [`Decoder`]
//! does so for frame after frame, and puts fragments together. Sensors
//! read packets from somewhere, decode them, and hand out
//! [`Observation`](portsentry_core::Observation)s. What an observation means
//! is decided in `portsentry-core` and never here.
//!
//! ```no_run
//! use portsentry_capture::{CaptureFile, Drained, Sensor, SensorError};
//!
//! fn main() -> Result<(), SensorError> {
//!     let mut file = CaptureFile::open("scan.pcap")?;
//!     while file.drain(1024, &mut |attempt| {
//!         println!("{} tried {} port {}", attempt.source, attempt.protocol(), attempt.target_port);
//!     })? != Drained::End
//!     {}
//!     let stats = file.stats();
//!     println!("{} packets, without an attempt: {}", stats.received, stats.tally);
//!     Ok(())
//! }
//! ```

#[cfg(feature = "live")]
pub mod clock;
#[cfg(feature = "connect")]
mod connect;
mod decode;
mod file;
#[cfg(feature = "live")]
mod interfaces;
#[cfg(feature = "live")]
mod live;
#[cfg(feature = "live")]
mod netlink;
#[cfg(feature = "live")]
pub mod reactor;
mod sensor;
#[cfg(feature = "live")]
mod served;
mod targets;
#[cfg(feature = "live")]
pub mod wake;

#[cfg(feature = "connect")]
pub use connect::{
    ConnectLimits, ConnectNotice, ConnectOptions, ConnectSensor, ConnectStats, Endpoint, Reply,
};
pub use decode::{
    ChecksumState, Decoder, Frame, LinkType, Packet, ReassemblyStats, Rejected, Tally, decode,
    martian_source,
};
pub use file::CaptureFile;
#[cfg(feature = "live")]
pub use interfaces::{
    Exclusions, Interface, InterfaceAddress, InterfaceMonitor, Selection, SelectionError,
    default_gateways,
};
#[cfg(feature = "live")]
pub use live::{CaptureOptions, InterfaceLoss, LiveBackend, LiveSensor, SensorSet, Watched};
#[cfg(feature = "pcap")]
pub use live::{PcapBackend, PcapSensor};
#[cfg(feature = "raw")]
pub use live::{RawBackend, RawSensor};
#[cfg(feature = "rings")]
pub use live::{RingBackend, SourceHash};
pub use sensor::{Drained, QueryStats, RingStats, Sensor, SensorError, SensorStats};
#[cfg(feature = "live")]
pub use served::served_ports;
pub use targets::Targets;
