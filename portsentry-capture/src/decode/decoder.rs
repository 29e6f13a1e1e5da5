//! Decoding frame after frame: the part of it that remembers.

use std::fmt;
use std::net::IpAddr;

use portsentry_core::Instant;

use super::reassembly::{Reassembly, ReassemblyStats};
use super::{ChecksumState, LinkType, Packet, Rejected, link, network};

/// One frame as it was captured.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Frame<'a> {
    /// Link header at its start.
    pub link: LinkType,
    /// Captured bytes.
    pub captured: &'a [u8],
    /// Length on the wire, in bytes.
    pub wire_length: usize,
    /// State of the checksum, as far as the kernel knows it.
    pub checksum: ChecksumState,
}

impl<'a> Frame<'a> {
    /// Creates a frame that was captured as a whole, with a checksum that nobody verified.
    #[must_use]
    pub const fn new(link: LinkType, captured: &'a [u8]) -> Self {
        Self { link, captured, wire_length: captured.len(), checksum: ChecksumState::Unknown }
    }

    /// Sets the length on the wire, in bytes.
    #[must_use]
    pub const fn with_wire_length(self, wire_length: usize) -> Self {
        Self { wire_length, ..self }
    }

    /// Sets the state of the checksum of TCP or UDP.
    #[must_use]
    pub const fn with_checksum(self, checksum: ChecksumState) -> Self {
        Self { checksum, ..self }
    }
}

/// Decodes the frames of one interface or file, in order, and puts fragments
/// together.
///
/// A datagram that came in fragments gives one packet, with its last fragment,
/// and the same as if it had come whole. Until then its fragments give
/// [`Rejected::Fragment`]; one that never becomes whole gives nothing, since no
/// stack answers it. Which fragments go together is decided as Linux decides
/// it, so that what the host sees is what is seen here.
///
/// What waits takes at most 4 MiB for each family of addresses, the oldest goes
/// first, and nothing waits much longer than 30 seconds (IPv4) or 60 (IPv6):
/// [`stats`](Self::stats) tells.
pub struct Decoder {
    reassembly: Reassembly,
}

impl Decoder {
    /// A decoder that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::sharing(1)
    }

    /// One of so many decoders of an interface that share the room for fragments.
    pub(crate) fn sharing(decoders: u16) -> Self {
        Self { reassembly: Reassembly::new(decoders) }
    }

    /// Decodes one frame, which came at `now`.
    ///
    /// `admit` is asked about source and target of every packet, before
    /// anything is kept of it. Costs 15 to 25 ns and allocates nothing, but for
    /// fragments, which cost half a microsecond.
    ///
    /// # Errors
    ///
    /// Why the frame gave no packet: as [`decode`](super::decode()), or
    /// [`Rejected::ShortFrame`], or what `admit` says.
    pub fn decode(
        &mut self,
        frame: &Frame<'_>,
        now: Instant,
        admit: impl Fn(IpAddr, IpAddr) -> Result<(), Rejected>,
    ) -> Result<Packet, Rejected> {
        let mut datagram = link::strip(frame.link, frame.captured)?;
        datagram.wire_length = Some(frame.wire_length.saturating_sub(datagram.offset));
        let packet = network::read(&datagram, frame.checksum, |fragment| {
            admit(fragment.header.source, fragment.header.target)?;
            self.reassembly.add(fragment, now)
        })?;
        admit(packet.source, packet.target)?;
        Ok(packet)
    }

    /// What became of datagrams that came in fragments.
    #[must_use]
    pub fn stats(&self) -> ReassemblyStats {
        self.reassembly.stats()
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoder").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
