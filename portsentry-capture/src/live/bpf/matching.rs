//! Parts of programs that match fields of a packet.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::{IpNet, Ipv6Net};
use portsentry_core::NetworkSet;

use super::coarse::coarse;
use super::program::{Assembler, Condition, Label, Op};
#[cfg(any(feature = "pcap", feature = "raw"))]
use crate::decode::ether_type::{IPV4, IPV6, MAX_VLAN_TAGS, VLAN_TAGS};

/// Packet type (`linux/if_packet.h`) of a packet for another host, which is visible because
/// the interface is promiscuous or a port of a bridge.
#[cfg(any(feature = "pcap", feature = "raw"))]
pub(in crate::live) const PACKET_OTHERHOST: u32 = 3;

/// Packet type of a packet that this host sends. It may also forward it.
pub(in crate::live) const PACKET_OUTGOING: u32 = 4;

/// IP protocol number of TCP.
pub(super) const TCP: u32 = 6;

/// IP protocol number of UDP.
pub(super) const UDP: u32 = 17;

/// Maximum number of IPv4 ranges, and of IPv6 networks, that a program distinguishes.
pub(super) const MAX_ADDRESSES: usize = 64;

#[cfg(any(feature = "pcap", feature = "raw"))]
/// The results of a program.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    /// Passes the start of the packet, which contains the headers.
    pub(super) pass: Label,
    /// Passes the whole packet, whose headers have any length.
    pub(super) whole: Label,
    pub(super) drop: Label,
}

/// Matches the EtherType, with the index at the network header and its type in the
/// accumulator. The kernel removes the outer tag of 802.1Q and 802.1ad before filters run, but
/// no inner tag, and no tag of type 0x9100. A packet with more tags than the decoder accepts
/// goes to
/// `ends.whole`: the kernel accepts any number of priority tags, and the decoder counts the rest.
#[cfg(any(feature = "pcap", feature = "raw"))]
pub(super) fn ether_type(code: &mut Assembler, v4: Label, v6: Label, ends: Ends) -> Label {
    let skip_tag =
        [Op::LoadHalf(2), Op::Save(0), Op::FromIndex, Op::Add(4), Op::ToIndex, Op::Restore(0)];
    let (mut start, mut tagged) = (ends.drop, ends.whole);
    for _ in 0..=MAX_VLAN_TAGS {
        let other = code.any_of(&VLAN_TAGS.map(u32::from), tagged, ends.drop);
        let other = code.branch(Condition::Equals(IPV6.into()), v6, other);
        start = code.branch(Condition::Equals(IPV4.into()), v4, other);
        tagged = code.ops(&skip_tag, start);
    }
    start
}

/// Returns the first and last numbers of the IPv4 ranges.
pub(super) fn ipv4_ranges(addresses: &NetworkSet) -> Vec<(u32, u32)> {
    let ranges = addresses.ranges().filter_map(|range| match (range.start(), range.end()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Some((u32::from(*first), u32::from(*last))),
        _ => None,
    });
    ranges.collect()
}

/// Tests whether the IPv6 address at `offset` is in one of `addresses`. `None` if these are too
/// many networks to compare them one by one.
pub(super) fn ipv6_within(
    code: &mut Assembler,
    addresses: &NetworkSet,
    offset: u32,
    inside: Label,
    outside: Label,
) -> Option<Label> {
    let networks = addresses.networks().filter_map(|network| match network {
        IpNet::V6(network) => Some(network),
        IpNet::V4(_) => None,
    });
    let networks: Vec<Ipv6Net> = networks.take(MAX_ADDRESSES + 1).collect();
    if networks.len() > MAX_ADDRESSES {
        return None;
    }
    let words = [(offset, 96), (offset + 4, 64), (offset + 8, 32), (offset + 12, 0)];
    Some(networks.iter().rev().fold(outside, |other, network| {
        let (first, mask) = (network.network().to_bits(), network.netmask().to_bits());
        words.into_iter().fold(inside, |equal, (offset, shift)| {
            let word = |bits: u128| (bits >> shift) as u32;
            if word(mask) == 0 {
                return equal;
            }
            let compared = code.branch(Condition::Equals(word(first)), equal, other);
            match word(mask) {
                u32::MAX => code.ops(&[Op::LoadWord(offset)], compared),
                mask => code.ops(&[Op::LoadWord(offset), Op::And(mask)], compared),
            }
        })
    }))
}

/// Tests whether the IPv6 address at `offset` may be in one of `addresses`, by its first 32 bits.
pub(super) fn ipv6_near(
    code: &mut Assembler,
    addresses: &NetworkSet,
    offset: u32,
    inside: Label,
    outside: Label,
) -> Label {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for range in addresses.ranges() {
        let (IpAddr::V6(first), IpAddr::V6(last)) = (*range.start(), *range.end()) else {
            continue;
        };
        let (first, last) = ((first.to_bits() >> 96) as u32, (last.to_bits() >> 96) as u32);
        match ranges.last_mut() {
            Some((_, before)) if first <= before.saturating_add(1) => *before = last,
            _ => ranges.push((first, last)),
        }
    }
    let near = search(code, &coarse(&ranges, MAX_ADDRESSES), inside, outside);
    code.ops(&[Op::LoadWord(offset)], near)
}

/// Returns the first and last numbers of the ranges.
pub(super) fn pairs(ranges: impl Iterator<Item = RangeInclusive<u16>>) -> Vec<(u32, u32)> {
    ranges.map(|range| ((*range.start()).into(), (*range.end()).into())).collect()
}

/// Tests whether the accumulator is in one of `ranges`: a binary search over the ends of the
/// ranges.
pub(super) fn search(
    code: &mut Assembler,
    ranges: &[(u32, u32)],
    inside: Label,
    outside: Label,
) -> Label {
    // A range starts at each even position and ends at each odd one.
    let edges: Vec<u32> = ranges
        .iter()
        .flat_map(|(first, last)| [Some(*first), last.checked_add(1)])
        .flatten()
        .collect();
    split(code, &edges, [outside, inside])
}

/// Writes the binary search. `ways` are the targets for numbers below the first of `edges`, and
/// from it up to the second; after that the targets alternate.
fn split(code: &mut Assembler, edges: &[u32], ways: [Label; 2]) -> Label {
    let middle = edges.len() / 2;
    let Some(edge) = edges.get(middle) else { return ways[0] };
    let [below, behind] = if middle.is_multiple_of(2) { ways } else { [ways[1], ways[0]] };
    let upper = split(code, &edges[middle + 1..], [behind, below]);
    let lower = split(code, &edges[..middle], ways);
    code.branch(Condition::AtLeast(*edge), upper, lower)
}
