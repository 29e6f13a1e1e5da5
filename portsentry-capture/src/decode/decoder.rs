//! Decoder for a sequence of frames, which stores fragments.

use std::fmt;
use std::net::IpAddr;

use portsentry_core::Instant;

use super::reassembly::{FragmentLimits, Reassembly, ReassemblyStats};
use super::{ChecksumState, LinkType, Packet, Rejected, link, network};

/// A captured frame.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Frame<'a> {
    /// Type of the link header.
    pub link: LinkType,
    /// Captured bytes.
    pub captured: &'a [u8],
    /// Length on the wire, in bytes.
    pub wire_length: usize,
    /// State of the checksum, as far as the kernel knows it.
    pub checksum: ChecksumState,
}

impl<'a> Frame<'a> {
    /// Creates a frame that was captured completely, with an unverified checksum.
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

/// Decodes the frames of one interface or file, in order, and reassembles fragments.
///
/// The fragment that completes a datagram returns its packet, the same as for an unfragmented
/// datagram. Each fragment before it returns [`Rejected::Fragment`]. An incomplete datagram
/// yields no packet, because no stack replies to it. The rules of reassembly are those of Linux,
/// so that the decoder and the host accept the same datagrams.
///
/// [`FragmentLimits`] define the memory and the lifetime of incomplete datagrams. By default they
/// use about 4 MiB for each address family, and expire soon after 30 seconds (IPv4) or 60 seconds
/// (IPv6). While the memory is full, new datagrams are not stored. [`stats`](Self::stats) counts
/// both.
///
/// If the decoder drops a first fragment that the host may have stored, [`unfinished`] returns its
/// packet. Call it after each [`decode`] that returned an error, or ignore such packets.
///
/// [`unfinished`]: Self::unfinished
/// [`decode`]: Self::decode
pub struct Decoder {
    reassembly: Reassembly,
}

impl Decoder {
    /// Creates a decoder without fragments.
    #[must_use]
    pub fn new() -> Self {
        Self::sharing(1, &FragmentLimits::default())
    }

    /// Creates one of several decoders of an interface that share the memory for fragments.
    pub(crate) fn sharing(decoders: u16, limits: &FragmentLimits) -> Self {
        Self { reassembly: Reassembly::new(limits, decoders) }
    }

    /// Changes the limits of reassembly.
    pub fn set_fragment_limits(&mut self, limits: &FragmentLimits) {
        self.reassembly.set_limits(limits);
    }

    /// Decodes one frame, which arrived at `now`. Times do not have to ascend.
    ///
    /// `admit` checks source and target of each packet, before any fragment is stored. Costs 15
    /// to 25 ns and does not allocate. A fragment costs half a microsecond and allocates.
    ///
    /// # Errors
    ///
    /// The reason why the frame yields no packet: as for [`decode`](super::decode()),
    /// [`Rejected::ShortFrame`], or the error of `admit`.
    pub fn decode(
        &mut self,
        frame: &Frame<'_>,
        now: Instant,
        admit: impl Fn(IpAddr, IpAddr) -> Result<(), Rejected>,
    ) -> Result<Packet, Rejected> {
        self.decode_admitted(frame, now, &admit, &admit)
    }

    /// The same, with a separate check for fragments before they are stored.
    #[inline]
    pub(crate) fn decode_admitted(
        &mut self,
        frame: &Frame<'_>,
        now: Instant,
        admit: impl Fn(IpAddr, IpAddr) -> Result<(), Rejected>,
        admit_fragment: impl Fn(IpAddr, IpAddr) -> Result<(), Rejected>,
    ) -> Result<Packet, Rejected> {
        let mut datagram = link::strip(frame.link, frame.captured)?;
        datagram.wire_length = Some(frame.wire_length.saturating_sub(datagram.offset));
        let packet = network::read(&datagram, frame.checksum, |fragment| {
            admit_fragment(fragment.header.source, fragment.header.target)?;
            self.reassembly.add(fragment, now)
        })?;
        admit(packet.source, packet.target)?;
        Ok(packet)
    }

    /// Returns the next packet of a datagram that is incomplete here, but that the host may have
    /// completed: its first fragment was dropped because the memory was full, because the source
    /// sent too many other fragments, or, for TCP, because the datagram [expired](Self::expire).
    ///
    /// The headers were checked as those of other packets, but the checksum was not. If a first
    /// fragment ends before the TCP flags, the flags are empty. At most 256 packets are stored.
    #[inline]
    pub fn unfinished(&mut self) -> Option<Packet> {
        self.reassembly.unfinished()
    }

    /// Removes the datagrams that have expired at `now`, but only as many as
    /// [`unfinished`](Self::unfinished) can return. [`decode`](Self::decode) does the same for
    /// each fragment.
    pub fn expire(&mut self, now: Instant) {
        self.reassembly.expire(now);
    }

    /// Returns whether there are incomplete datagrams.
    #[must_use]
    pub fn has_incomplete(&self) -> bool {
        self.reassembly.has_incomplete()
    }

    /// Returns the counters of fragmented datagrams.
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
