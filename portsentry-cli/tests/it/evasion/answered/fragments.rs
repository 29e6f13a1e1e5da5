//! Fragmented probes.

use super::{Form, PORTS, Step, form, long_syn, unchanged};
use crate::evasion::Wire;
use crate::fragments::Version::{self, V4, V6};
use crate::frames::TCP;

/// Lengths of the probes in bytes, and of their first fragment.
const LENGTH: usize = 60;
const FIRST: usize = 24;

/// Returns the first or the last fragment of the probe to this port. The first has `at` bytes.
fn cut(wire: &Wire, version: Version, port: u16, (is_first, at): (bool, usize)) -> Vec<u8> {
    let whole = long_syn(wire, version, port, LENGTH - 20);
    let (start, bytes) = if is_first { (0, &whole[..at]) } else { (at, &whole[at..]) };
    wire.ip(&wire.between.fragment(version, TCP, port, start, is_first, bytes))
}

/// Returns the first fragments of all probes, then `between`, then the last fragments.
fn around(wire: &Wire, version: Version, first: usize, between: Vec<Vec<u8>>) -> Vec<Step> {
    let pieces = |is_first| PORTS.map(|port| cut(wire, version, port, (is_first, first))).collect();
    vec![Step::Send(pieces(true)), Step::Send(between), Step::Send(pieces(false))]
}

pub(super) const FORMS: &[Form] = &[
    form("in two fragments", unchanged, |wire| around(wire, V4, FIRST, Vec::new())),
    form("in two fragments, IPv6", unchanged, |wire| around(wire, V6, FIRST, Vec::new())),
    form("tiny first fragments", unchanged, |wire| around(wire, V4, 8, Vec::new())),
];
