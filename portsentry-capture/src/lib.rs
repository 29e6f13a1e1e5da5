//! Sensors for port scan detection: the [`Sensor`] trait, the decoding of frames into
//! observations, and sensors for capture files, interfaces and bound ports.
//!
//! [`decode()`] turns the bytes of one frame into a [`Packet`], or returns the reason why there
//! is none, a [`Rejected`]. It is pure and does not allocate. A [`Decoder`] decodes a
//! sequence of frames, and reassembles fragments. Sensors read packets, decode them, and hand out
//! [`Observation`](portsentry_core::Observation)s for the engine of `portsentry-core`.
//!
//! # Capture files
//!
//! ```no_run
//! use portsentry_capture::{CaptureFile, Drained, Sensor, SensorError};
//!
//! fn main() -> Result<(), SensorError> {
//!     let mut file = CaptureFile::open("scan.pcap")?;
//!     while file.drain(1024, &mut |probe| {
//!         println!("{} tried {} port {}", probe.source, probe.protocol(), probe.target_port);
//!     })? != Drained::End
//!     {}
//!     let stats = file.stats();
//!     println!("{} packets; rejected: {}", stats.received, stats.tally);
//!     Ok(())
//! }
//! ```
//!
//! # Live capture
//!
//! A [`SensorSet`] captures on all selected interfaces and follows their changes. Its owner waits
//! for one descriptor and drains the set.
//!
#![cfg_attr(feature = "raw", doc = "```no_run")]
#![cfg_attr(not(feature = "raw"), doc = "```ignore")]
//! use std::os::fd::AsFd;
//!
//! use portsentry_capture::reactor::{Interest, wait};
//! use portsentry_capture::{
//!     CaptureOptions, RawBackend, Selection, Sensor, SensorSet, clock, served_ports,
//! };
//! use portsentry_core::{Engine, HashKey, Limits, Policy};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let backend = RawBackend::new(CaptureOptions::default());
//!     let mut sensors = SensorSet::builder(Selection::parse(&["ALL"])?, backend).open()?;
//!     // A real program takes the key from a random source.
//!     let key = HashKey::new(0x9f3a_c281_55d0_1b7e_44f0_93e1_7c2b_a685);
//!     let mut engine = Engine::new(Policy::default(), &Limits::default(), key);
//!     engine.set_served_ports(served_ports()?);
//!     loop {
//!         let limit = engine.poll_timeout().map(|due| due.since(clock::monotonic()));
//!         wait([Some(Interest::readable(sensors.as_fd()))], limit)?;
//!         sensors.drain(1024, &mut |probe| {
//!             engine.observe(probe, clock::monotonic());
//!         })?;
//!         engine.handle_timeout(clock::monotonic());
//!         while let Some(event) = engine.poll_event() {
//!             println!("{event:?}");
//!         }
//!     }
//! }
//! ```
//!
//! # Features
//!
//! Without default features, the crate contains the decoder, capture files and the sensor trait,
//! and compiles on any system. `live` adds the code for Linux, without a backend. `raw` and `pcap`
//! add backends: packet sockets and libpcap. `connect` binds the monitored ports. `rings`
//! distributes packets over several threads. `serde` serializes observations and counters.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "live")]
mod batch;
#[cfg(feature = "live")]
pub mod clock;
#[cfg(feature = "connect")]
mod connect;
mod decode;
mod file;
#[cfg(feature = "live")]
mod indispensable;
#[cfg(feature = "live")]
mod interfaces;
#[cfg(feature = "live")]
mod kernel_feature;
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
mod translated;
#[cfg(feature = "live")]
pub mod wake;

#[cfg(feature = "connect")]
pub use connect::{
    ConnectLimits, ConnectNotice, ConnectOptions, ConnectSensor, ConnectStats, Endpoint, Reply,
};
pub use decode::{
    ChecksumState, Decoder, FragmentLimits, Frame, LinkType, Packet, ReassemblyStats, Rejected,
    Tally, decode, martian_source,
};
pub use file::CaptureFile;
#[cfg(feature = "live")]
pub use indispensable::{
    Gateway, IndispensableHost, IndispensableHosts, NameServers, ResolverFiles, Role, name_servers,
};
#[cfg(feature = "live")]
pub use interfaces::{
    Exclusions, Interface, InterfaceAddress, InterfaceMonitor, Selection, SelectionError,
};
#[cfg(feature = "live")]
pub use kernel_feature::MissingFeature;
#[cfg(any(feature = "pcap", feature = "raw"))]
pub use kernel_feature::missing_capture_features;
/// Decoders of the kernel's messages, for the fuzz targets. Not a part of the interface.
#[cfg(feature = "live")]
#[doc(hidden)]
pub mod kernel_messages {
    pub use crate::indispensable::{Change, RouteTables};
    pub use crate::interfaces::{LocalRoutes, address, link};
}
#[cfg(feature = "live")]
pub use live::{
    CaptureOptions, InterfaceLoss, LiveBackend, LiveSensor, SensorSet, SensorSetBuilder, Watched,
};
#[cfg(feature = "pcap")]
pub use live::{PcapBackend, PcapSensor};
#[cfg(feature = "raw")]
pub use live::{RawBackend, RawSensor};
#[cfg(feature = "rings")]
pub use live::{RingBackend, SourceHash};
pub use sensor::{Drained, QueryStats, RingStats, Sensor, SensorError, SensorStats};
#[cfg(feature = "live")]
pub use served::{LookupStats, PortUse, SocketLookup, port_use, served_ports};
pub use targets::Targets;
#[cfg(feature = "live")]
pub use translated::{
    LegacyTables, TrackedConnection, TranslationMonitor, Translations, tracked_connection,
    translations,
};
