//! The bytes behind a header, and how far they reach.
//!
//! Where a header does not fit, the question is always the same: does the packet
//! end there (the packet is malformed), or only the capture (it is truncated)?

use super::Rejected;

/// What the IP header says belongs to the packet, from some header on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    /// What of it is at hand, at most `length` bytes.
    pub(super) captured: &'a [u8],
    /// Its length on the wire.
    pub(super) length: usize,
}

impl<'a> Payload<'a> {
    /// Behind a header of `header` bytes, in a packet of `length` bytes.
    #[inline]
    pub(super) fn of(packet: &'a [u8], header: usize, length: usize) -> Self {
        let captured = packet.get(header..length.min(packet.len())).unwrap_or_default();
        Self { captured, length: length - header }
    }

    /// Behind the first `length` bytes.
    pub(super) fn behind(self, length: usize) -> Result<Self, Rejected> {
        let captured = self.captured.get(length..).ok_or(Rejected::Truncated)?;
        Ok(Self { captured, length: self.length - length })
    }

    /// The first `length` bytes.
    pub(super) fn cut(self, length: usize) -> Self {
        let captured = self.captured.get(..length).unwrap_or(self.captured);
        Self { captured, length }
    }

    /// Why a header that needs `needed` bytes cannot be read.
    pub(super) fn shortage(self, needed: usize, malformed: Rejected) -> Rejected {
        if self.length < needed { malformed } else { Rejected::Truncated }
    }
}
