//! Fragments among a crowd of other fragments, and settings of the kernel for them.

use std::net::Ipv4Addr;
use std::time::Duration;

use portsentry_testbed::Namespace;

use super::{Form, PORTS, Step, form, long_syn, set, unchanged};
use crate::evasion::Wire;
use crate::fragments::Version::{self, V4, V6};
use crate::frames::TCP;

/// Lengths of the probes in bytes, and of their first fragment.
const LENGTH: usize = 60;
const FIRST: usize = 24;

/// Returns the first or the last fragment of the probe to this port.
fn piece(wire: &Wire, version: Version, port: u16, is_first: bool) -> Vec<u8> {
    cut(wire, version, port, (is_first, FIRST))
}

/// Returns the same with a first fragment of this length.
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

/// Returns first fragments of `length` bytes from this source, each of another datagram.
fn crowd(wire: &Wire, source: &str, number: u16, length: usize) -> Vec<Vec<u8>> {
    let wire = wire.with_source(source);
    let version = if source.contains(':') { V6 } else { V4 };
    let bytes = long_syn(&wire, version, 9, length - 20);
    let fragment = |id| wire.ip(&wire.between.fragment(version, TCP, id, 0, true, &bytes));
    (0..number).map(fragment).collect()
}

/// Returns complete datagrams of two fragments, each of another source.
fn complete(wire: &Wire, sources: u32) -> Vec<Vec<u8>> {
    let first = u32::from(Ipv4Addr::new(198, 18, 0, 0));
    let datagram = |source: u32| {
        let wire = wire.with_source(&Ipv4Addr::from(first + source).to_string());
        [true, false].map(|is_first| piece(&wire, V4, 9, is_first))
    };
    (0..sources).flat_map(datagram).collect()
}

/// Returns first fragments from addresses whose packets the host drops, because it would answer
/// them through another interface (RFC 3704 section 2.2). They fill the sentry's memory for fragments.
fn misplaced_crowd(wire: &Wire) -> Vec<Vec<u8>> {
    (1..=48_u16).flat_map(|host| crowd(wire, &format!("10.99.0.{host}"), 250, 96)).collect()
}

/// Makes the host drop such packets.
fn verify_sources(host: &Namespace) {
    host.ip(&["link", "add", "other0", "type", "veth", "peer", "name", "other1"]);
    for end in ["other0", "other1"] {
        host.ip(&["link", "set", end, "up"]);
    }
    host.ip(&["address", "add", "10.99.0.254/24", "dev", "other0"]);
    set(host, "ipv4/conf/all/rp_filter", "1");
}

/// Returns fragments that the kernel forgets, then fragments of other datagrams with the same
/// identification.
fn after_expiry(wire: &Wire, version: Version) -> Vec<Step> {
    let others = long_syn(wire, version, 9, LENGTH - 20);
    let old = PORTS
        .map(|port| wire.ip(&wire.between.fragment(version, TCP, port, 0, true, &others[..FIRST])));
    let mut steps = vec![Step::Send(old.collect()), Step::Wait(Duration::from_secs(3))];
    steps.extend(around(wire, version, FIRST, Vec::new()));
    steps
}

pub(super) const FORMS: &[Form] = &[
    form("in two fragments", unchanged, |wire| around(wire, V4, FIRST, Vec::new())),
    form("in two fragments, IPv6", unchanged, |wire| around(wire, V6, FIRST, Vec::new())),
    form("tiny first fragments", unchanged, |wire| around(wire, V4, 8, Vec::new())),
    form("around fragments in the name of the host", unchanged, |wire| {
        let own = Ipv4Addr::from(wire.between.v4[1]).to_string();
        around(wire, V4, FIRST, crowd(wire, &own, 4_000, 1_400))
    }),
    form("around fragments from loopback", unchanged, |wire| {
        around(wire, V4, 8, crowd(wire, "127.0.0.1", 4_000, 1_400))
    }),
    form("around fragments that the host drops", verify_sources, |wire| {
        around(wire, V4, FIRST, misplaced_crowd(wire))
    }),
    form("after fragments that the host drops", verify_sources, |wire| {
        let mut steps = vec![Step::Send(misplaced_crowd(wire))];
        steps.extend(around(wire, V4, FIRST, Vec::new()));
        steps
    }),
    form("tiny, after fragments that the host drops", verify_sources, |wire| {
        let mut steps = vec![Step::Send(misplaced_crowd(wire))];
        steps.extend(around(wire, V4, 8, Vec::new()));
        steps
    }),
    form("around datagrams of 45,000 other sources", unchanged, |wire| {
        around(wire, V4, FIRST, complete(wire, 45_000))
    }),
    form(
        "around many others of the source, without a limit",
        |host| set(host, "ipv4/ipfrag_max_dist", "0"),
        |wire| {
            let source = Ipv4Addr::from(wire.between.v4[0]).to_string();
            around(wire, V4, FIRST, crowd(wire, &source, 300, 96))
        },
    ),
    form(
        "around more fragments than the default limit allows",
        |host| set(host, "ipv4/ipfrag_high_thresh", "67108864"),
        |wire| around(wire, V4, FIRST, crowd(wire, "198.18.0.1", 6_000, 1_400)),
    ),
    form(
        "around more fragments than the default limit allows, IPv6",
        |host| set(host, "ipv6/ip6frag_high_thresh", "67108864"),
        |wire| around(wire, V6, FIRST, crowd(wire, "2001:db8::5", 6_000, 1_400)),
    ),
    form(
        "after others with the same identification expired",
        |host| set(host, "ipv4/ipfrag_time", "1"),
        |wire| after_expiry(wire, V4),
    ),
    // The sentry joins no fragments of different interfaces.
    form(
        "over two links",
        |host| set(host, "ipv4/ipfrag_time", "1"),
        |wire| {
            let first = PORTS.map(|port| piece(wire, V4, port, true));
            let last = PORTS.map(|port| piece(wire, V4, port, false));
            let expired = Step::Wait(Duration::from_secs(2));
            vec![Step::Send(first.collect()), Step::SendBySecond(last.collect()), expired]
        },
    ),
    form("after others expired, with a setting of a reload", unchanged, |wire| {
        let change = |host: &Namespace| set(host, "ipv4/ipfrag_time", "1");
        let mut steps = vec![Step::Reload(change)];
        steps.extend(after_expiry(wire, V4));
        steps
    }),
    form(
        "after others with the same identification expired, IPv6",
        |host| set(host, "ipv6/ip6frag_time", "1"),
        |wire| after_expiry(wire, V6),
    ),
];
