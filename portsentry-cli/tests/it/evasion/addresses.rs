//! Impossible sources, and targets that are not this host.

use super::Outcome::{Probe, ProbeFromHere, Silent, Undecodable};
use super::{Form, Wire, form};
use crate::expected::{SYN, UDP};
use crate::frames::{TCP, UDP as DATAGRAM, tcp, udp};

const IMPOSSIBLE: super::Outcome = Undecodable("martian source");

fn syn_from(wire: &Wire, source: &str) -> Vec<Vec<u8>> {
    let wire = wire.with_source(source);
    if source.contains(':') { wire.send_v6(TCP, &tcp(2)) } else { wire.send_v4(TCP, &tcp(2)) }
}

fn datagram_to(wire: &Wire, target: &str) -> Vec<Vec<u8>> {
    let mut wire = *wire;
    if target.contains(':') {
        wire.between.v6[1] = target.parse::<std::net::Ipv6Addr>().expect("address").octets();
        wire.send_v6(DATAGRAM, &udp(b"x"))
    } else {
        wire.between.v4[1] = target.parse::<std::net::Ipv4Addr>().expect("address").octets();
        wire.send_v4(DATAGRAM, &udp(b"x"))
    }
}

pub(super) const FORMS: &[Form] = &[
    form("any", Probe(SYN), |wire| wire.send_v4(TCP, &tcp(2))),
    form("any, IPv6", Probe(UDP), |wire| wire.send_v6(DATAGRAM, &udp(b"x"))),
    form("from this host", ProbeFromHere(SYN), |wire| {
        let mut wire = *wire;
        wire.between.v4[0] = wire.between.v4[1];
        wire.send_v4(TCP, &tcp(2))
    }),
    form("from this host, IPv6", ProbeFromHere(SYN), |wire| {
        let mut wire = *wire;
        wire.between.v6[0] = wire.between.v6[1];
        wire.send_v6(TCP, &tcp(2))
    }),
    form("from loopback", IMPOSSIBLE, |wire| syn_from(wire, "127.0.0.1")),
    form("from loopback, IPv6", IMPOSSIBLE, |wire| syn_from(wire, "::1")),
    form("from this network", IMPOSSIBLE, |wire| syn_from(wire, "0.0.0.0")),
    form("from nowhere, IPv6", IMPOSSIBLE, |wire| syn_from(wire, "::")),
    form("from multicast", IMPOSSIBLE, |wire| syn_from(wire, "224.0.0.1")),
    form("from the end of multicast", IMPOSSIBLE, |wire| syn_from(wire, "239.255.255.255")),
    form("from multicast, IPv6", IMPOSSIBLE, |wire| syn_from(wire, "ff02::1")),
    form("from broadcast", IMPOSSIBLE, |wire| syn_from(wire, "255.255.255.255")),
    form("to a mapped address", Silent, |wire| {
        let [a, b, c, d] = wire.between.v4[1];
        datagram_to(wire, &format!("::ffff:{a}.{b}.{c}.{d}"))
    }),
    form("to broadcast", Silent, |wire| datagram_to(wire, "255.255.255.255")),
    form("to the broadcast of the network", Silent, |wire| {
        let [a, b, c, _] = wire.between.v4[1];
        datagram_to(wire, &format!("{a}.{b}.{c}.255"))
    }),
    form("to multicast", Silent, |wire| datagram_to(wire, "224.0.0.251")),
    form("to multicast, IPv6", Silent, |wire| datagram_to(wire, "ff02::1")),
    form("to loopback", Silent, |wire| datagram_to(wire, "127.0.0.1")),
    form("to loopback, IPv6", Silent, |wire| datagram_to(wire, "::1")),
    form("to another host", Silent, |wire| datagram_to(wire, "198.51.100.9")),
    form("to another host, IPv6", Silent, |wire| datagram_to(wire, "2001:db8::ffff")),
];
