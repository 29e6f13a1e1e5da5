//! Extension headers of IPv6, and the authentication header of both families.

use super::Outcome::{Probe, Silent, Undecodable};
use super::{Form, Wire, form};
use crate::expected::{NULL, SYN, UDP};
use crate::frames::{
    AUTHENTICATION, DESTINATION, FRAGMENT, HOP_BY_HOP, ROUTING, TCP, UDP as DATAGRAM,
    authentication, extension, fragment, routing, tcp, udp, with,
};

const IMPOSSIBLE: super::Outcome = Undecodable("impossible extension header");

/// Returns a packet with payload length 0, as a jumbogram has (RFC 2675 section 3), but of
/// ordinary size.
fn jumbogram(wire: &Wire, rest: &[u8]) -> Vec<Vec<u8>> {
    vec![wire.ip(&with(&wire.v6(HOP_BY_HOP, rest), 4, &[0, 0]))]
}

pub(super) const FORMS: &[Form] = &[
    // The length field does not count the first 8 bytes, so 0 is a valid length (RFC 8200
    // section 4.3).
    form("hop-by-hop options", Probe(SYN), |wire| {
        wire.send_v6(HOP_BY_HOP, &extension(TCP, 0, &tcp(2)))
    }),
    form("destination options", Probe(NULL), |wire| {
        wire.send_v6(DESTINATION, &extension(TCP, 0, &tcp(0)))
    }),
    form("routing, none left", Probe(UDP), |wire| {
        wire.send_v6(ROUTING, &routing(DATAGRAM, 0, &udp(b"x")))
    }),
    form("hop-by-hop options of 32 bytes", Probe(SYN), |wire| {
        wire.send_v6(HOP_BY_HOP, &extension(TCP, 3, &tcp(2)))
    }),
    form("one of each", Probe(SYN), |wire| {
        let chain = extension(TCP, 0, &tcp(2));
        let chain = authentication(DESTINATION, 4, &chain);
        let chain = fragment(AUTHENTICATION, 0, false, &chain);
        let chain = routing(FRAGMENT, 0, &chain);
        let chain = extension(ROUTING, 0, &chain);
        wire.send_v6(HOP_BY_HOP, &extension(DESTINATION, 1, &chain))
    }),
    form("150 destination options", Probe(SYN), |wire| {
        let chain =
            (1..150).fold(extension(TCP, 0, &tcp(2)), |rest, _| extension(DESTINATION, 0, &rest));
        wire.send_v6(DESTINATION, &chain)
    }),
    form("ACK after options", Silent, |wire| {
        wire.send_v6(HOP_BY_HOP, &extension(TCP, 0, &tcp(0x10)))
    }),
    form("hop-by-hop options in second place", IMPOSSIBLE, |wire| {
        let second = extension(TCP, 0, &tcp(2));
        wire.send_v6(DESTINATION, &extension(HOP_BY_HOP, 0, &second))
    }),
    form("options longer than the packet", IMPOSSIBLE, |wire| {
        wire.send_v6(DESTINATION, &with(&extension(TCP, 0, &tcp(2)), 1, &[200]))
    }),
    form("half of an options header", IMPOSSIBLE, |wire| {
        wire.send_v6(DESTINATION, &[TCP, 0, 1, 0])
    }),
    // A packet with segments left must be forwarded, which this host does not do.
    form("routing, one left", Silent, |wire| wire.send_v6(ROUTING, &routing(TCP, 1, &tcp(2)))),
    // RFC 4302 section 2.2: the length is in words of 4 bytes, without the first two.
    form("authentication", Probe(SYN), |wire| {
        wire.send_v4(AUTHENTICATION, &authentication(TCP, 4, &tcp(2)))
    }),
    form("authentication of a datagram", Probe(UDP), |wire| {
        wire.send_v4(AUTHENTICATION, &authentication(DATAGRAM, 7, &udp(b"x")))
    }),
    form("authentication, IPv6", Probe(SYN), |wire| {
        wire.send_v6(AUTHENTICATION, &authentication(TCP, 4, &tcp(2)))
    }),
    form("authentication longer than the packet", IMPOSSIBLE, |wire| {
        wire.send_v6(AUTHENTICATION, &with(&authentication(TCP, 4, &tcp(2)), 1, &[200]))
    }),
    form("ESP after options", Silent, |wire| wire.send_v6(HOP_BY_HOP, &extension(50, 0, &tcp(2)))),
    // RFC 8200 section 4.7.
    form("no next header", Silent, |wire| wire.send_v6(59, &tcp(2))),
    form("no next header after options", Silent, |wire| {
        wire.send_v6(HOP_BY_HOP, &extension(59, 0, &tcp(2)))
    }),
    form("an unknown header after options", Silent, |wire| {
        wire.send_v6(HOP_BY_HOP, &extension(253, 0, &tcp(2)))
    }),
    form("SCTP after options", Silent, |wire| {
        wire.send_v6(DESTINATION, &extension(132, 0, &tcp(2)))
    }),
    form("6in6 after options", Silent, |wire| {
        wire.send_v6(DESTINATION, &extension(41, 0, &wire.v6(TCP, &tcp(2))))
    }),
    form("mobility", Silent, |wire| wire.send_v6(135, &extension(TCP, 0, &tcp(2)))),
    form("payload length 0 with options", Probe(SYN), |wire| {
        jumbogram(wire, &extension(TCP, 0, &tcp(2)))
    }),
    form("payload length 0 with options, UDP length 0", Probe(UDP), |wire| {
        let datagram = with(&udp(b"x"), 4, &[0, 0]);
        let packet = wire.v6(HOP_BY_HOP, &extension(DATAGRAM, 0, &datagram));
        vec![wire.ip(&crate::frames::sealed(with(&packet, 4, &[0, 0])))]
    }),
    form("fragment header with payload length 0", IMPOSSIBLE, |wire| {
        jumbogram(wire, &extension(FRAGMENT, 0, &fragment(TCP, 0, false, &tcp(2))))
    }),
    // RFC 6946 section 4: an atomic fragment is a whole packet.
    form("atomic fragment", Probe(SYN), |wire| {
        wire.send_v6(FRAGMENT, &fragment(TCP, 0, false, &tcp(2)))
    }),
    form("atomic fragment, reserved bits", Probe(SYN), |wire| {
        wire.send_v6(FRAGMENT, &fragment(TCP, 6, false, &tcp(2)))
    }),
    form("atomic fragment after options", Probe(UDP), |wire| {
        let atomic = fragment(DATAGRAM, 0, false, &udp(b"x"));
        wire.send_v6(HOP_BY_HOP, &extension(FRAGMENT, 0, &atomic))
    }),
    form("two nested atomic fragments", IMPOSSIBLE, |wire| {
        let inner = fragment(TCP, 0, false, &tcp(2));
        wire.send_v6(FRAGMENT, &fragment(FRAGMENT, 0, false, &inner))
    }),
];
