//! The bytes after a header, and their length on the wire.
//!
//! If a header does not fit, either the packet ends there (it is malformed), or only the capture
//! ends there (it is truncated).

use super::Rejected;

/// The rest of a packet after a header. The IP header defines where it ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    /// The captured bytes, at most `length`.
    pub(super) captured: &'a [u8],
    /// Length on the wire, in bytes.
    pub(super) length: usize,
}

impl<'a> Payload<'a> {
    /// Returns the bytes after a header of `header` bytes, in a packet of `length` bytes.
    #[inline]
    pub(super) fn of(packet: &'a [u8], header: usize, length: usize) -> Self {
        let captured = packet.get(header..length.min(packet.len())).unwrap_or_default();
        Self { captured, length: length - header }
    }

    /// Returns the bytes after the first `length`.
    pub(super) fn behind(self, length: usize) -> Result<Self, Rejected> {
        let captured = self.captured.get(length..).ok_or(Rejected::Truncated)?;
        Ok(Self { captured, length: self.length - length })
    }

    /// Returns the first `length` bytes.
    pub(super) fn cut(self, length: usize) -> Self {
        let captured = self.captured.get(..length).unwrap_or(self.captured);
        Self { captured, length }
    }

    /// Returns the reason why a header of `needed` bytes cannot be read.
    pub(super) fn shortage(self, needed: usize, malformed: Rejected) -> Rejected {
        if self.length < needed { malformed } else { Rejected::Truncated }
    }
}
