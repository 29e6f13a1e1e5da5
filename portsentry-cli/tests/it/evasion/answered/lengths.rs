//! Headers that are longer than most packets.

use super::{Form, each, form, syn, unchanged};
use crate::evasion::Wire;
use crate::fragments::Version::V6;
use crate::fragments::skippable_options;
use crate::frames::{DESTINATION, TCP};

/// Returns a probe behind `headers` headers with options, each of `length` bytes.
fn behind_options(port: u16, headers: usize, length: usize) -> Vec<u8> {
    (0..headers).fold(syn(port), |rest, number| {
        let next = if number == 0 { TCP } else { DESTINATION };
        [skippable_options(next, length), rest].concat()
    })
}

/// Returns the frames of such probes.
fn with_options(wire: &Wire, headers: usize, length: usize) -> Vec<super::Step> {
    each(|port| wire.send_v6(DESTINATION, &behind_options(port, headers, length)))
}

pub(super) const FORMS: &[Form] = &[
    form("options of 1.8 KB", unchanged, |wire| with_options(wire, 1, 1_800)),
    form("options of 3.6 KB", unchanged, |wire| with_options(wire, 2, 1_800)),
    form("options of 7 KB", unchanged, |wire| with_options(wire, 4, 1_800)),
    form("options of 7 KB in the first of two fragments", unchanged, |wire| {
        each(|port| {
            let options = [behind_options(port, 4, 1_800), vec![b'x'; 40]].concat();
            let whole = &wire.v6(DESTINATION, &options)[40..];
            let cut = whole.len() - 36;
            let piece = |start: usize, end: usize| {
                let (more, bytes) = (end < whole.len(), &whole[start..end]);
                wire.ip(&wire.between.fragment(V6, DESTINATION, port, start, more, bytes))
            };
            vec![piece(0, cut), piece(cut, whole.len())]
        })
    }),
];
