//! A simple model of reassembly: byte by byte, for one datagram. Its rules follow the
//! documentation and the behaviour of the kernel. A complete datagram is encoded as one
//! packet and decoded.

use std::collections::BTreeMap;

use portsentry_capture::{LinkType, Packet, decode};

use crate::frames::*;

/// One fragment of the datagram.
#[derive(Clone, Debug)]
pub(crate) struct Piece {
    pub(crate) protocol: u8,
    pub(crate) start: usize,
    pub(crate) more: bool,
    pub(crate) bytes: Vec<u8>,
}

/// The fragments received so far.
#[derive(Default)]
pub(crate) struct Model {
    is_v6: bool,
    /// Each byte, with the number of the run of fragments that it belongs to.
    bytes: BTreeMap<usize, (u8, usize)>,
    count: usize,
    /// End of the datagram, as far as it is known.
    end: usize,
    is_certain: bool,
    first_protocol: Option<u8>,
}

impl Model {
    pub(crate) fn new(is_v6: bool) -> Self {
        Self { is_v6, ..Self::default() }
    }

    /// Adds a fragment and returns the packet that it completes.
    pub(crate) fn add(&mut self, piece: &Piece) -> Option<Packet> {
        let Piece { protocol, start, more, .. } = *piece;
        let mut bytes = &piece.bytes[..];
        if self.is_v6 {
            let odd = more && !bytes.len().is_multiple_of(8);
            if start == 0 && is_headless(protocol, bytes) || start + bytes.len() > 65_535 || odd {
                return None;
            }
        } else if more {
            bytes = &bytes[..bytes.len() / 8 * 8];
        }
        let end = start + bytes.len();
        let agrees = match (more, self.is_certain) {
            (true, true) => end <= self.end,
            (true, false) => true,
            (false, true) => end == self.end,
            (false, false) => end >= self.end,
        };
        if !agrees || bytes.is_empty() {
            self.discard();
            return None;
        }
        self.is_certain |= !more;
        let known: Vec<_> = (start..end).map(|at| self.bytes.get(&at).map(|byte| byte.1)).collect();
        if known[0].is_some() && known.iter().all(|run| *run == known[0]) {
            return None;
        }
        if known.iter().any(Option::is_some) {
            self.discard();
            return None;
        }
        self.count += 1;
        let follows = self.bytes.last_key_value().filter(|(at, _)| **at + 1 == start);
        let run = follows.map_or(self.count, |(_, byte)| byte.1);
        self.bytes.extend((start..end).zip(bytes.iter().map(|byte| (*byte, run))));
        self.end = self.end.max(end);
        if start == 0 {
            self.first_protocol = Some(protocol);
        }
        if !self.is_certain || self.bytes.len() != self.end {
            return None;
        }
        let whole: Vec<u8> = self.bytes.values().map(|byte| byte.0).collect();
        let protocol = self.first_protocol?;
        self.discard();
        decoded(self.is_v6, protocol, &whole)
    }

    /// Returns the target port of the packet that the decoder hands out when the datagram
    /// expires, if any. The outer option is `None` if the model does not know, because extension
    /// headers precede the transport header.
    pub(crate) fn expired_port(&self) -> Option<Option<u16>> {
        match self.first_protocol {
            // Without the first fragment there are no ports, and replies over UDP are forgotten.
            None | Some(UDP) => Some(None),
            Some(TCP) => {
                let mut at = 0..;
                let known: Vec<u8> = self
                    .bytes
                    .iter()
                    .map_while(|(n, byte)| (at.next() == Some(*n)).then_some(byte.0))
                    .collect();
                let is_tcp = known.get(19).is_none() || known[12] >> 4 >= 5;
                Some(is_tcp.then(|| u16::from_be_bytes([known[2], known[3]])))
            }
            Some(_) => None,
        }
    }

    fn discard(&mut self) {
        *self = Self::new(self.is_v6);
    }
}

/// Returns the packet of a complete datagram, as the frames of its [`Piece`]s decode.
fn decoded(is_v6: bool, protocol: u8, bytes: &[u8]) -> Option<Packet> {
    if !is_v6 {
        let length = u16::try_from(20 + bytes.len()).ok()?.to_be_bytes();
        let header = with(&ipv4(protocol, &[]), 2, &length);
        return decode(LinkType::RawIp, &[sealed(header), bytes.to_vec()].concat()).ok();
    }
    // The fragment header remains, because the fragments had one; it marks a whole packet.
    let payload = fragment(protocol, 0, false, bytes);
    let length = u16::try_from(payload.len()).ok()?.to_be_bytes();
    let header = with(&ipv6(FRAGMENT, &[]), 4, &length);
    let packet = decode(LinkType::RawIp, &[header, payload].concat()).ok()?;
    Some(packet.with_wire_length(packet.wire_length - 8))
}

/// Returns whether Linux drops this first fragment of IPv6 because a part of its transport
/// header is missing.
fn is_headless(protocol: u8, bytes: &[u8]) -> bool {
    let missing = |header: usize| bytes.len() < header;
    match (protocol, bytes) {
        (TCP, _) => missing(20),
        (UDP | 58, _) => missing(8),
        (HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT | AUTHENTICATION, [next, units, ..]) => {
            let length = match protocol {
                FRAGMENT => 8,
                AUTHENTICATION => 4 * (usize::from(*units) + 2),
                _ => 8 * (usize::from(*units) + 1),
            };
            match bytes.get(length..) {
                Some(rest) => is_headless(*next, rest),
                // The fragment ends within this header, so the kind of the next one decides.
                None => !matches!(
                    *next,
                    HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT | AUTHENTICATION | 59
                ),
            }
        }
        (HOP_BY_HOP | ROUTING | DESTINATION | FRAGMENT | AUTHENTICATION | 59, _) => false,
        _ => missing(1),
    }
}
