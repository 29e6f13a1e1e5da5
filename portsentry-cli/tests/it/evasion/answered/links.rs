//! Tags before the IP header.

use super::{Form, each, form, syn, unchanged};
use crate::evasion::Wire;
use crate::frames::TCP;

/// Returns a frame with a probe behind tags, each of them with its EtherType and its control
/// information (IEEE 802.1Q: three bits of priority, then the VLAN).
fn tagged(wire: &Wire, is_v6: bool, port: u16, tags: &[(u16, u16)]) -> Vec<u8> {
    let (ether_type, packet) = match is_v6 {
        false => (0x0800, wire.v4(TCP, &syn(port))),
        true => (0x86dd_u16, wire.v6(TCP, &syn(port))),
    };
    let inside = (ether_type, packet);
    let (ether_type, payload) = tags.iter().rev().fold(inside, |(inner, rest), (tag, control)| {
        let header = [control.to_be_bytes(), inner.to_be_bytes()].concat();
        (*tag, [header, rest].concat())
    });
    wire.frame(ether_type, &payload)
}

/// Tags that contain only a priority.
const PRIORITY: (u16, u16) = (0x8100, 0);
const OUTER_PRIORITY: (u16, u16) = (0x88a8, 0);

pub(super) const FORMS: &[Form] = &[
    form("no tag", unchanged, |wire| each(|port| vec![tagged(wire, false, port, &[])])),
    form("no tag, IPv6", unchanged, |wire| each(|port| vec![tagged(wire, true, port, &[])])),
    form("one priority tag", unchanged, |wire| {
        each(|port| vec![tagged(wire, false, port, &[PRIORITY])])
    }),
    form("two priority tags", unchanged, |wire| {
        each(|port| vec![tagged(wire, false, port, &[PRIORITY; 2])])
    }),
    form("three priority tags", unchanged, |wire| {
        each(|port| vec![tagged(wire, false, port, &[PRIORITY; 3])])
    }),
    form("four priority tags of both kinds, IPv6", unchanged, |wire| {
        let tags = [OUTER_PRIORITY, PRIORITY, OUTER_PRIORITY, PRIORITY];
        each(|port| vec![tagged(wire, true, port, &tags)])
    }),
    form("six priority tags of all priorities", unchanged, |wire| {
        each(|port| {
            let tags: Vec<_> = (2..8).map(|priority| (0x8100, priority << 13)).collect();
            vec![tagged(wire, port % 2 == 0, port, &tags)]
        })
    }),
    form("a thousand priority tags", unchanged, |wire| {
        each(|port| vec![tagged(wire, port % 2 == 0, port, &[PRIORITY; 1000])])
    }),
];
