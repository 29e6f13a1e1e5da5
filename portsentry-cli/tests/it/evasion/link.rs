//! VLAN tags, and frames of other protocols than IP.

use super::Outcome::{Probe, Silent, Undecodable};
use super::{Form, form};
use crate::expected::{NULL, SYN, UDP};
use crate::frames::{TCP, UDP as DATAGRAM, tag, tcp, udp};

const IPV4: u16 = 0x0800;
const IPV6: u16 = 0x86dd;

pub(super) const FORMS: &[Form] = &[
    form("no tag", Probe(SYN), |wire| wire.send_v4(TCP, &tcp(2))),
    form("802.1Q", Probe(SYN), |wire| vec![wire.frame(0x8100, &tag(IPV4, &wire.v4(TCP, &tcp(2))))]),
    form("802.1Q, IPv6", Probe(UDP), |wire| {
        vec![wire.frame(0x8100, &tag(IPV6, &wire.v6(DATAGRAM, &udp(b"x"))))]
    }),
    form("802.1Q, priority only", Probe(SYN), |wire| {
        vec![wire.frame(0x8100, &[&[0xe0, 0, 8, 0], &wire.v4(TCP, &tcp(2))[..]].concat())]
    }),
    form("802.1ad", Probe(SYN), |wire| {
        vec![wire.frame(0x88a8, &tag(IPV4, &wire.v4(TCP, &tcp(2))))]
    }),
    form("tag of type 0x9100", Probe(SYN), |wire| {
        vec![wire.frame(0x9100, &tag(IPV4, &wire.v4(TCP, &tcp(2))))]
    }),
    form("QinQ", Probe(SYN), |wire| {
        vec![wire.frame(0x88a8, &tag(0x8100, &tag(IPV4, &wire.v4(TCP, &tcp(2)))))]
    }),
    form("QinQ, IPv6", Probe(SYN), |wire| {
        vec![wire.frame(0x88a8, &tag(0x8100, &tag(IPV6, &wire.v6(TCP, &tcp(2)))))]
    }),
    form("QinQ, the outer of type 0x9100", Probe(NULL), |wire| {
        vec![wire.frame(0x9100, &tag(0x8100, &tag(IPV4, &wire.v4(TCP, &tcp(0)))))]
    }),
    form("two tags of 802.1Q", Probe(SYN), |wire| {
        vec![wire.frame(0x8100, &tag(0x8100, &tag(IPV4, &wire.v4(TCP, &tcp(2)))))]
    }),
    // These frames contain an IP packet where other protocols have their own header.
    form("ARP", Silent, |wire| vec![wire.frame(0x0806, &wire.v4(TCP, &tcp(2)))]),
    form("LLDP", Silent, |wire| vec![wire.frame(0x88cc, &wire.v4(TCP, &tcp(2)))]),
    form("EAPOL", Silent, |wire| vec![wire.frame(0x888e, &wire.v6(TCP, &tcp(2)))]),
    form("MPLS", Silent, |wire| vec![wire.frame(0x8847, &wire.v4(TCP, &tcp(2)))]),
    form("ARP in a tag", Silent, |wire| {
        vec![wire.frame(0x8100, &tag(0x0806, &wire.v4(TCP, &tcp(2))))]
    }),
    form("PPPoE", Silent, |wire| {
        let ppp = [&[0x11, 0, 0, 1, 0, 42, 0, 0x21], &wire.v4(TCP, &tcp(2))[..]].concat();
        vec![wire.frame(0x8864, &ppp)]
    }),
    form("IEEE 802.3 with LLC and SNAP", Silent, |wire| {
        let snap = [&[0xaa, 0xaa, 3, 0, 0, 0, 8, 0], &wire.v4(TCP, &tcp(2))[..]].concat();
        vec![wire.frame(48, &snap)]
    }),
    form("nothing after the link header", Silent, |wire| vec![wire.frame(IPV4, &[])]),
    form("half an IP header", Silent, |wire| vec![wire.frame(IPV4, &wire.v4(TCP, &tcp(2))[..10])]),
    form("for another station", Silent, |wire| {
        let mut frame = wire.ip(&wire.v4(TCP, &tcp(2)));
        frame[..6].copy_from_slice(&[2, 0, 0, 0, 0x77, 0x77]);
        vec![frame]
    }),
];

/// On `any`, the kernel has already removed tags and does not report how many.
pub(super) const ON_INTERFACES: &[Form] =
    &[form("three tags", Undecodable("too many VLAN tags"), |wire| {
        let packet = wire.v4(TCP, &tcp(2));
        vec![wire.frame(0x88a8, &tag(0x8100, &tag(0x8100, &tag(IPV4, &packet))))]
    })];
