//! The pure heart of portsentry.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod networks;
mod observation;
mod port_set;
mod scan_kind;
mod tcp_flags;
mod time;

pub use networks::Networks;
pub use observation::{Evidence, IpOptions, Mode, Observation, Protocol, TcpSegment};
pub use port_set::PortSet;
pub use scan_kind::ScanKind;
pub use tcp_flags::TcpFlags;
pub use time::{Instant, Timestamp};
