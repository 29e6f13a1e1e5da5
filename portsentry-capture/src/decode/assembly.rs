//! One datagram that is being reassembled.
//!
//! The rules are exactly those of the Linux kernel (`net/ipv4/inet_fragment.c`,
//! `ip_fragment.c`, `net/ipv6/reassembly.c`). A sensor that resolves ambiguous fragments in
//! another way than the host can be evaded (Ptacek and Newsham, "Insertion, Evasion, and Denial
//! of Service", 1998). So the bytes that arrive first count, and a partial overlap discards the
//! datagram (RFC 5722 section 4, since Linux 4.19 for IPv4 too).

use std::net::IpAddr;

use super::fragment::Fragment;
use super::header::Header;
use super::ipv6::has_header_chain;
use super::payload::Payload;
use super::{ChecksumState, Packet, Rejected, network};

/// Maximum length of an IP packet. Jumbograms are longer, but are never fragmented.
const MAX_PACKET: usize = 65_535;

/// The fragments of a datagram that arrived so far.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// Runs of received bytes, ascending and disjoint. A fragment that continues the last run is
    /// joined to it; one that arrives out of order remains a separate run.
    runs: Vec<Run>,
    /// Captured bytes of each fragment with their offset, in order of arrival.
    pieces: Vec<(usize, Box<[u8]>)>,
    /// Number of received bytes.
    held: u32,
    /// Highest known end of the datagram.
    end: u32,
    has_last: bool,
    /// The header of the first fragment.
    header: Option<Header>,
    /// Checksum state of the last fragment for which it is known.
    checksum: ChecksumState,
}

#[derive(Clone, Copy, Debug)]
struct Run {
    start: u32,
    end: u32,
}

/// Result of the insertion of a fragment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The fragment was stored, and others are missing.
    Incomplete,
    /// The fragment completes the datagram.
    Complete,
    /// The fragment is ignored, and the datagram remains.
    Ignored(Rejected),
    /// The fragment and its datagram are discarded.
    Discarded(Rejected),
}

impl Assembly {
    /// Returns the approximate memory use in bytes.
    pub(super) fn cost(&self) -> usize {
        let pieces: usize = self.pieces.iter().map(|(_, bytes)| 48 + bytes.len()).sum();
        // 448 for the entries of this datagram in tables.
        448 + 8 * self.runs.len() + pieces
    }

    /// Inserts a fragment.
    pub(super) fn insert(&mut self, fragment: &Fragment<'_>) -> Outcome {
        let is_v4 = fragment.header.target.is_ipv4();
        let mut payload = fragment.payload;
        let start = fragment.offset;
        if fragment.more && is_v4 {
            // Linux accepts a length that is not a multiple of 8, and rounds it down.
            payload = payload.cut(payload.length & !7);
        }
        // Lengths have 16 bits, because jumbograms have no fragments.
        let end = start.saturating_add(u32::try_from(payload.length).unwrap_or(u32::MAX));
        if !is_v4 && (end as usize > MAX_PACKET || fragment.more && !end.is_multiple_of(8)) {
            return Outcome::Ignored(Rejected::FragmentLength);
        }
        if !fragment.more {
            if end < self.end || self.has_last && end != self.end {
                return Outcome::Discarded(Rejected::FragmentLength);
            }
            self.has_last = true;
        } else if end > self.end && self.has_last {
            return Outcome::Discarded(Rejected::FragmentLength);
        }
        self.end = self.end.max(end);
        if end == start {
            return Outcome::Discarded(Rejected::FragmentLength);
        }
        if let Err(outcome) = self.add_run(Run { start, end }) {
            return outcome;
        }
        self.held += end - start;
        if start == 0 {
            self.header = Some(fragment.header);
        }
        if fragment.checksum != ChecksumState::Unknown {
            self.checksum = fragment.checksum;
        }
        if !payload.captured.is_empty() {
            self.pieces.push((start as usize, payload.captured.into()));
        }
        if self.header.is_some() && self.has_last && self.held == self.end {
            Outcome::Complete
        } else {
            Outcome::Incomplete
        }
    }

    fn add_run(&mut self, run: Run) -> Result<(), Outcome> {
        const OVERLAP: Outcome = Outcome::Discarded(Rejected::FragmentOverlap);
        let Run { start, end } = run;
        match self.runs.last_mut() {
            Some(last) if last.end < end => {
                if start < last.end {
                    return Err(OVERLAP);
                }
                if start == last.end {
                    last.end = end;
                } else {
                    self.runs.push(run);
                }
            }
            None => self.runs.push(run),
            Some(_) => {
                let at = self.runs.partition_point(|other| other.end <= start);
                match self.runs.get(at) {
                    Some(other) if end > other.start => {
                        let is_inside = other.start <= start && end <= other.end;
                        let copy = Outcome::Ignored(Rejected::Fragment);
                        return Err(if is_inside { copy } else { OVERLAP });
                    }
                    _ => self.runs.insert(at, run),
                }
            }
        }
        Ok(())
    }

    /// Decodes the packet of a complete datagram.
    pub(super) fn packet(mut self) -> Result<Packet, Rejected> {
        let header = self.header.ok_or(Rejected::Fragment)?;
        let length = self.end as usize;
        let ip_length = match header.target {
            IpAddr::V4(_) => header.length + length,
            IpAddr::V6(_) => header.length - 40 + length,
        };
        if ip_length > MAX_PACKET {
            return Err(Rejected::FragmentLength);
        }
        self.pieces.sort_unstable_by_key(|(offset, _)| *offset);
        let captured = self.captured();
        network::reassembled(header, Payload { captured: &captured, length }, self.checksum)
    }

    /// Returns the packet whose headers are in the fragments so far, from the first on.
    pub(super) fn unfinished(mut self) -> Option<Packet> {
        let header = self.header?;
        self.pieces.sort_unstable_by_key(|(offset, _)| *offset);
        network::unfinished(header, &self.captured(), self.end as usize).ok()
    }

    /// Returns the captured bytes up to the first gap. The pieces are sorted.
    fn captured(&self) -> Vec<u8> {
        let mut captured = Vec::new();
        for (offset, bytes) in &self.pieces {
            // The capture cut off the bytes of a gap, or a fragment is missing.
            if *offset == captured.len() {
                captured.extend_from_slice(bytes);
            }
        }
        captured
    }
}

/// Returns whether this fragment lacks headers, so that no datagram accepts it.
pub(super) fn lacks_headers(fragment: &Fragment<'_>) -> bool {
    fragment.header.target.is_ipv6()
        && fragment.offset == 0
        && !has_header_chain(fragment.header.protocol, fragment.payload)
}
