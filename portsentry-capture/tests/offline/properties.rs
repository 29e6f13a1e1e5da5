//! Properties of reassembly, for datagrams that are cut and shuffled at random.

use portsentry_capture::{Decoder, Frame, LinkType, Packet, Rejected};
use portsentry_core::Instant;
use proptest::prelude::*;
use proptest::sample::Index;

use crate::fragments::Version::{V4, V6};
use crate::fragments::{DOCUMENTATION, Version};
use crate::frames::*;
use crate::model::{Model, Piece};

/// A datagram without its IP header, cut into two or more fragments.
#[derive(Clone, Debug)]
struct Cut {
    version: Version,
    protocol: u8,
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
}

impl Cut {
    fn frame(&self, piece: &Piece) -> Vec<u8> {
        let Piece { protocol, start, more, ref bytes } = *piece;
        DOCUMENTATION.fragment(self.version, protocol, 0xabcd, start, more, bytes)
    }

    fn piece(&self, start: usize, end: usize) -> Piece {
        let bytes = self.bytes[start..end].to_vec();
        Piece { protocol: self.protocol, start, more: end < self.bytes.len(), bytes }
    }

    fn whole(&self) -> Packet {
        let packet = DOCUMENTATION.packet(self.version, self.protocol, &self.bytes);
        read(&mut Decoder::new(), &packet).unwrap()
    }
}

fn read(decoder: &mut Decoder, packet: &[u8]) -> Result<Packet, Rejected> {
    let frame = Frame::new(LinkType::RawIp, packet);
    decoder.decode(&frame, Instant::from_secs(1), |_, _| Ok(()))
}

/// Returns start, length and "more fragments" flag of each piece, for messages.
fn summary(pieces: &[Piece]) -> Vec<(usize, usize, bool)> {
    pieces.iter().map(|piece| (piece.start, piece.bytes.len(), piece.more)).collect()
}

fn transport() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let payload = || prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        (0..0x1000u16, payload()).prop_map(|(flags, rest)| (TCP, [tcp(flags), rest].concat())),
        (0..=10u8, payload())
            .prop_map(|(words, rest)| (TCP, [tcp_with_options(words), rest].concat())),
        payload().prop_map(|payload| (UDP, udp(&payload))),
        (1..40u8, payload())
            .prop_map(|(units, rest)| (AUTHENTICATION, authentication(UDP, units, &udp(&rest)))),
    ]
}

fn cut() -> impl Strategy<Value = Cut> {
    let version = prop_oneof![Just(V4), Just(V6)];
    (version, transport(), prop::collection::vec(any::<Index>(), 1..12)).prop_filter_map(
        "more than one fragment",
        |(version, (protocol, bytes), cuts)| {
            let packet = DOCUMENTATION.packet(version, protocol, &bytes);
            let bytes = packet[packet.len() - bytes.len()..].to_vec();
            // The first fragment of IPv6 must contain all headers.
            let first = match (version, protocol) {
                (V4, _) => 8,
                (V6, AUTHENTICATION) => (4 * (usize::from(bytes[1]) + 2) + 8).next_multiple_of(8),
                (V6, _) => 24,
            };
            let units = bytes.len().saturating_sub(first + 1) / 8;
            if bytes.len() <= first {
                return None;
            }
            let mut cuts: Vec<_> =
                cuts.into_iter().map(|cut| first + 8 * cut.index(units + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            cuts.dedup();
            let mut cut = Cut { version, protocol, bytes, pieces: Vec::new() };
            cut.pieces = cuts.windows(2).map(|ends| cut.piece(ends[0], ends[1])).collect();
            Some(cut)
        },
    )
}

fn shuffled() -> impl Strategy<Value = Cut> {
    cut().prop_flat_map(|cut| {
        Just(cut.pieces.clone())
            .prop_shuffle()
            .prop_map(move |pieces| Cut { pieces, ..cut.clone() })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Fragments in any order and with copies are reassembled to the original packet.
    #[test]
    fn order_and_copies_do_not_matter(
        cut in shuffled(),
        copies in prop::collection::vec((any::<Index>(), any::<Index>()), 0..4),
    ) {
        let mut pieces = cut.pieces.clone();
        let last = pieces.pop();
        for (copied, place) in copies {
            if pieces.is_empty() {
                break;
            }
            let copied = copied.get(&pieces).clone();
            pieces.insert(place.index(pieces.len() + 1), copied);
        }
        pieces.extend(last);
        let mut decoder = Decoder::new();
        let mut results: Vec<_> =
            pieces.iter().map(|piece| read(&mut decoder, &cut.frame(piece))).collect();
        prop_assert_eq!(results.pop(), Some(Ok(cut.whole())));
        prop_assert!(results.iter().all(|result| *result == Err(Rejected::Fragment)));
    }

    /// A fragment that overlaps two others in part discards the datagram.
    #[test]
    fn an_overlap_discards_the_datagram(cut in shuffled(), at in any::<Index>(), reach in any::<Index>()) {
        let mut pieces = cut.pieces.clone();
        let mut ends: Vec<_> = pieces.iter().map(|piece| piece.start).filter(|at| *at > 0).collect();
        ends.sort_unstable();
        // Covers one of the borders and a part of both neighbours.
        let border = *at.get(&ends);
        let long = |piece: &&Piece| piece.bytes.len() > 8;
        let before = pieces.iter().filter(long).find(|it| it.start + it.bytes.len() == border);
        let after = pieces.iter().filter(long).find(|it| it.start == border);
        let (Some(before), Some(after)) = (before, after) else { return Ok(()) };
        let inner = (after.bytes.len() - 1) / 8;
        let end = border + 8 * (1 + reach.index(inner));
        let overlap = cut.piece(border - 8, end);
        let neighbours = [before.start, after.start];
        let arrival = pieces.iter().position(|it| neighbours.contains(&it.start)).unwrap();
        pieces.insert(arrival + 1, overlap);
        let mut decoder = Decoder::new();
        let results: Vec<_> =
            pieces.iter().map(|piece| read(&mut decoder, &cut.frame(piece))).collect();
        prop_assert_eq!(results[arrival + 1], Err(Rejected::FragmentOverlap));
        prop_assert!(results.iter().all(Result::is_err), "{results:?}");
    }

    /// Decoder and model agree on fragments that need not fit.
    #[test]
    fn arbitrary_fragments_are_reassembled_as_in_the_model(
        cut in shuffled(),
        strays in prop::collection::vec(
            (any::<Index>(), 0..20usize, 0..70usize, any::<bool>(), 0..3u8), 0..6,
        ),
    ) {
        let mut pieces = cut.pieces.clone();
        for (place, unit, length, more, letter) in strays {
            let start = 8 * unit;
            let more = more || start == 0;
            let bytes = vec![letter; length];
            let stray = Piece { protocol: cut.protocol, start, more, bytes };
            pieces.insert(place.index(pieces.len() + 1), stray);
        }
        let mut decoder = Decoder::new();
        let mut model = Model::new(cut.version == V6);
        for piece in &pieces {
            let seen = read(&mut decoder, &cut.frame(piece)).ok();
            let at = (piece.start, piece.bytes.len(), piece.more);
            prop_assert_eq!(seen, model.add(piece), "at {:?} of {:?}", at, summary(&pieces));
        }
        decoder.expire(Instant::from_secs(3_600));
        let port = decoder.unfinished().map(|packet| packet.target_port);
        if let Some(expected) = model.expired_port() {
            prop_assert_eq!(port, expected, "{:?}", summary(&pieces));
        }
        prop_assert_eq!(decoder.unfinished(), None);
    }
}
