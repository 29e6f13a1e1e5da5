//! Decodes the bytes of one frame into the packet that they contain.
//!
//! [`decode()`] reads link, IP and transport header and returns a [`Packet`], or a [`Rejected`]
//! with the reason why there is none. A [`Decoder`] also reassembles fragments.
//!
//! Every length is bounded twice: by the captured bytes, and by the length in the IP header, so
//! padding is never read as a header. A checksum is verified if all bytes that it covers were
//! captured. The code never panics, reads no clock, and does not know the interface or the
//! addresses of this host. It allocates only for fragments.
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
pub use reassembly::{FragmentLimits, ReassemblyStats};
pub use rejected::Rejected;
pub use tally::Tally;

/// Decodes one frame without any state; `frame` is its captured part.
///
/// If the capture cut the frame, the fixed part of the transport header is enough, and the
/// checksum is not verified. Costs 10 to 25 ns.
///
/// # Errors
///
/// The reason why the frame contains no packet. A fragment is [`Rejected::Fragment`]; only a
/// [`Decoder`] reassembles it. The caller has to check whether the frame was complete on the
/// wire ([`Packet::on_wire`]) and whether the source is possible ([`martian_source`]).
pub fn decode(link: LinkType, frame: &[u8]) -> Result<Packet, Rejected> {
    let datagram = link::strip(link, frame)?;
    network::read(&datagram, ChecksumState::Unknown, |_| Err(Rejected::Fragment))
}
