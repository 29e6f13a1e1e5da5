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
pub(crate) mod ether_type;
mod extensions;
mod fragment;
mod header;
mod ipv4;
mod ipv6;
mod link;
mod martian;
mod network;
mod packet;
mod payload;
mod reassembly;
mod rejected;
mod tally;
mod transport;

pub use checksum::ChecksumState;
pub use decoder::{Decoder, Frame};
pub use link::LinkType;
pub use martian::martian_source;
pub use packet::Packet;
pub use reassembly::ReassemblyStats;
pub use rejected::Rejected;
pub use tally::Tally;

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
