//! From the bytes of one frame to what was tried.
//!
//! [`decode()`] walks link layer, IP and transport header and gives a [`Packet`],
//! or a [`Rejected`] that says why there is none; a [`Decoder`] puts fragments
//! together besides. Every length is bounded twice: by what was captured, and by
//! what the IP header says belongs to the packet, so that padding is never read
//! as a header. Checksums are verified where all that they cover was captured.
//! Nothing here panics, reads a clock, or knows the interface or this host's
//! addresses, and only fragments are allocated for.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod assembly;
mod checksum;
mod decoder;
mod extensions;
mod fragment;
mod ipv4;
mod ipv6;
mod link;
mod martian;
mod network;
mod payload;
mod reassembly;
mod rejected;
mod tally;
mod transport;

use std::net::{IpAddr, SocketAddr};

use portsentry_core::{Evidence, IpOptions, Observation, Timestamp};

pub use checksum::ChecksumState;
pub use decoder::{Decoder, Frame};
pub use link::LinkType;
pub use martian::martian_source;
pub use reassembly::ReassemblyStats;
pub use rejected::Rejected;
pub use tally::Tally;

/// What one frame tells: an [`Observation`] but for the time of receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Packet {
    /// The sender that the IP header names.
    pub source: IpAddr,
    /// The destination that the IP header names.
    pub target: IpAddr,
    /// The sender's port.
    pub source_port: u16,
    /// The destination port.
    pub target_port: u16,
    /// The transport header.
    pub evidence: Evidence,
    /// Whether the IPv4 header has options.
    pub ip_options: IpOptions,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Identification of the IPv4 header; `None` for IPv6.
    pub ip_id: Option<u16>,
    /// Index of the receiving interface where the link header has one
    /// (Linux cooked v2), else 0.
    pub interface: u32,
    /// Bytes that the frame had on the wire at least, by the IP header's
    /// length, link header included.
    pub wire_length: usize,
}

impl Packet {
    /// The observation of this packet, received at the wall-clock time `time`
    /// on the interface of index `interface` (0: not known). An interface that
    /// the frame itself names has precedence. The caller sets
    /// [`Observation::at`].
    #[must_use]
    #[inline]
    pub const fn observation(&self, time: Timestamp, interface: u32) -> Observation {
        let interface = if self.interface == 0 { interface } else { self.interface };
        let source = SocketAddr::new(self.source, self.source_port);
        let target = SocketAddr::new(self.target, self.target_port);
        let mut observation =
            Observation::new(source, target, self.evidence).stamped(time).on(interface);
        observation.ip_options = self.ip_options;
        observation.ttl = Some(self.ttl);
        observation.ip_id = self.ip_id;
        observation
    }

    /// The packet, unless its frame was shorter on the wire than its IP header
    /// says: then every stack drops it.
    ///
    /// `length` is the frame's length on the wire in bytes, not what of it was
    /// captured.
    ///
    /// # Errors
    ///
    /// [`Rejected::ShortFrame`].
    pub const fn on_wire(self, length: usize) -> Result<Self, Rejected> {
        if length < self.wire_length { Err(Rejected::ShortFrame) } else { Ok(self) }
    }
}

/// Decodes one frame by itself, of which `frame` holds what was captured.
///
/// A frame that was cut by the capture decodes all the same as long as the
/// fixed part of its transport header is there; its checksum is not verified
/// then. Costs 10 to 25 ns.
///
/// # Errors
///
/// Why the frame gave no packet; fragments give [`Rejected::Fragment`], and a
/// [`Decoder`] more. Two things only the caller can tell, and are not looked at
/// here: whether the frame was whole ([`Packet::on_wire`]) and whether the
/// source is possible ([`martian_source`]).
pub fn decode(link: LinkType, frame: &[u8]) -> Result<Packet, Rejected> {
    let datagram = link::strip(link, frame)?;
    network::read(&datagram, ChecksumState::Unknown, |_| Err(Rejected::Fragment))
}
