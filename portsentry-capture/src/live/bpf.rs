//! The program by which the kernel filters packets before they reach a capture.
//!
//! The program discards packets of open connections, of other hosts and of other ports, but no
//! packet that could be a probe. If a few fields do not decide, the packet passes, and the decoder
//! and the engine decide: the filter only saves their time. The program is written for the watched
//! addresses and ports, and replaced when they change. Its length is bounded. If a list is too
//! long, ranges are joined, and some further ports pass.
//!
//! The language of libpcap is not used. It cannot test the EtherType behind a tag that the
//! kernel has removed, and it cannot search a list of ports.

mod coarse;
#[cfg(feature = "raw")]
mod fanout;
mod program;
mod sent;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::os::fd::BorrowedFd;

use portsentry_core::{NetworkSet, PortSet};

use self::coarse::coarse;
use self::program::{Ancillary, Assembler, Condition, Label, Op};
use super::{SNAP_LENGTH, Watched, packet_socket};

#[cfg(feature = "raw")]
pub(super) use fanout::attach_fanout_program;
pub(super) use program::Instruction;
pub(super) use sent::{SENT_LENGTH, attach_sent_filter};

/// Packet types of `linux/if_packet.h`: for another host, seen because the
/// interface is promiscuous or a port of a bridge; and sent by this host.
pub(super) const PACKET_OTHERHOST: u32 = 3;
pub(super) const PACKET_OUTGOING: u32 = 4;

/// EtherTypes.
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;
pub(super) const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

const TCP: u32 = 6;
const UDP: u32 = 17;
const AUTHENTICATION: u32 = 51;

/// Extension headers that are walked to the ports: those of RFC 8200, of RFC
/// 4302, RFC 6275, RFC 7401 and RFC 5533, and not ESP, which hides its ports.
const EXTENSION_HEADERS: [u32; 8] = [0, 43, 44, AUTHENTICATION, 60, 135, 139, 140];

/// TCP flags that no probe has.
const RST_OR_ACK: u32 = 0x04 | 0x10;

/// More fragments, or an offset (RFC 791 section 3.1).
const FRAGMENT: u32 = 0x3fff;

/// IPv4 ranges that are told apart, and IPv6 addresses; with more of the latter
/// the kernel does not look at them.
const MAX_ADDRESSES: usize = 64;

/// Ranges of ports that are told apart, for each protocol: what to try with,
/// until the kernel has room.
const PORT_RANGES: [usize; 4] = [256, 64, 16, 1];

/// Has the kernel hold back from `socket` whatever cannot be a probe of what is
/// `watched`, from now on; `network` is the offset of the network header in
/// what the socket receives.
///
/// The memory for filters is bounded (`net.core.optmem_max`). Where it does not
/// suffice for a coarse program either, everything passes, which costs time and
/// no probe; then it is logged with `name`, the interface.
pub(super) fn attach_probe_filter(
    socket: BorrowedFd<'_>,
    network: u32,
    watched: &Watched,
    name: &str,
) {
    let attached = attach(socket, |ranges| candidates(network, watched, ranges));
    let Err(failure) = attached else { return };
    // What was attached before may hold back what is watched now.
    let detached = packet_socket::detach_filter(socket);
    let error = detached.err().unwrap_or(failure);
    log::warn!("interface {name}: the kernel takes no filter, so all packets are read: {error}");
}

/// Has the kernel hold back everything from `socket`.
#[cfg(feature = "raw")]
pub(super) fn attach_drop_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut code = Assembler::default();
    code.give(0);
    packet_socket::attach_filter(socket, &code.finish())
}

/// Attaches the first program that the kernel has room for, of those that
/// `write` gives for fewer and fewer ranges of ports.
fn attach(socket: BorrowedFd<'_>, write: impl Fn(usize) -> Vec<Instruction>) -> io::Result<()> {
    let mut failure = io::ErrorKind::InvalidInput.into();
    for ranges in PORT_RANGES {
        match packet_socket::attach_filter(socket, &write(ranges)) {
            Ok(()) => return Ok(()),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// The program for frames whose network header begins at byte `network`, that
/// tells at most `port_ranges` ranges of TCP and as many of UDP ports apart.
fn candidates(network: u32, watched: &Watched, port_ranges: usize) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let drop = code.give(0);
    let pass = code.give(SNAP_LENGTH);

    let port = |ports: &PortSet| coarse(&pairs(ports.ranges()), port_ranges);
    let udp = search(&mut code, &port(&watched.udp_ports), pass, drop);
    let udp = code.ops(&[Op::LoadHalf(2)], udp);
    let tcp = search(&mut code, &port(&watched.tcp_ports), pass, drop);
    let tcp = code.ops(&[Op::LoadHalf(2)], tcp);
    let tcp = code.branch(Condition::HasAnyOf(RST_OR_ACK), drop, tcp);
    let tcp = code.ops(&[Op::LoadByte(13)], tcp);

    let ends = Ends { pass, drop };
    let v4 = ipv4(&mut code, &watched.addresses, [tcp, udp], ends);
    let v6 = ipv6(&mut code, &watched.addresses, [tcp, udp], ends);
    let start = ether_type(&mut code, v4, v6, ends);
    // What this host sends is no probe of it, and on the loopback interface,
    // where each packet is seen going out and coming in, this leaves the second.
    let start = code.ops(&[Op::LoadAncillary(Ancillary::Protocol)], start);
    let start = code.any_of(&[PACKET_OUTGOING, PACKET_OTHERHOST], drop, start);
    code.ops(&[Op::SetIndex(network), Op::LoadAncillary(Ancillary::PacketType)], start);
    code.finish()
}

/// Where all ways end.
#[derive(Clone, Copy)]
struct Ends {
    pass: Label,
    drop: Label,
}

/// Tells EtherTypes apart, with the index at the network header and its type
/// loaded. The kernel takes off the outer tag of 802.1Q and 802.1ad before
/// filters run, but not an inner one, and none of type 0x9100. Two are stepped
/// over here; what has three is for the decoder to count.
fn ether_type(code: &mut Assembler, v4: Label, v6: Label, ends: Ends) -> Label {
    let step_over =
        [Op::LoadHalf(2), Op::Save(0), Op::FromIndex, Op::Add(4), Op::ToIndex, Op::Restore(0)];
    let mut one_of = |tagged| {
        let other = code.any_of(&VLAN_TAGS.map(u32::from), tagged, ends.drop);
        let other = code.branch(Condition::Equals(IPV6.into()), v6, other);
        let start = code.branch(Condition::Equals(IPV4.into()), v4, other);
        (start, code.ops(&step_over, start))
    };
    let (_, second) = one_of(ends.pass);
    let (_, first) = one_of(second);
    let (start, _) = one_of(first);
    start
}

/// With the index at an IPv4 header. Fragments pass before their ports are
/// looked at: `nmap -f` sends eight bytes of TCP at a time, and a program that
/// reads beyond the end of a packet holds it back.
fn ipv4(code: &mut Assembler, addresses: &NetworkSet, [tcp, udp]: [Label; 2], ends: Ends) -> Label {
    let to_payload = [Op::LoadByte(0), Op::And(0x0f), Op::ShiftLeft(2), Op::AddIndex, Op::ToIndex];
    let mut unless_fragment = |transport| {
        let whole = code.ops(&to_payload, transport);
        let fragment = code.branch(Condition::HasAnyOf(FRAGMENT), ends.pass, whole);
        code.ops(&[Op::LoadHalf(6)], fragment)
    };
    let (tcp, udp) = (unless_fragment(tcp), unless_fragment(udp));
    let other = code.branch(Condition::Equals(AUTHENTICATION), ends.pass, ends.drop);
    let other = code.branch(Condition::Equals(UDP), udp, other);
    let protocol = code.branch(Condition::Equals(TCP), tcp, other);
    let own = code.ops(&[Op::LoadByte(9)], protocol);

    let target = search(code, &coarse(&ipv4_ranges(addresses), MAX_ADDRESSES), own, ends.drop);
    code.ops(&[Op::LoadWord(16)], target)
}

fn ipv4_ranges(addresses: &NetworkSet) -> Vec<(u32, u32)> {
    let ranges = addresses.ranges().filter_map(|range| match (range.start(), range.end()) {
        (IpAddr::V4(first), IpAddr::V4(last)) => Some((u32::from(*first), u32::from(*last))),
        _ => None,
    });
    ranges.collect()
}

/// With the index at an IPv6 header.
fn ipv6(code: &mut Assembler, addresses: &NetworkSet, [tcp, udp]: [Label; 2], ends: Ends) -> Label {
    let to_payload = [Op::FromIndex, Op::Add(40), Op::ToIndex];
    let (tcp, udp) = (code.ops(&to_payload, tcp), code.ops(&to_payload, udp));
    let other = code.any_of(&EXTENSION_HEADERS, ends.pass, ends.drop);
    let other = code.branch(Condition::Equals(UDP), udp, other);
    let protocol = code.branch(Condition::Equals(TCP), tcp, other);
    let own = code.ops(&[Op::LoadByte(6)], protocol);
    let Some(addresses) = few_ipv6_addresses(addresses) else { return own };
    addresses.iter().rev().fold(ends.drop, |other, address| {
        [(24, 96), (28, 64), (32, 32), (36, 0)].into_iter().fold(own, |equal, (offset, shift)| {
            let word = (address >> shift) as u32;
            let compared = code.branch(Condition::Equals(word), equal, other);
            code.ops(&[Op::LoadWord(offset)], compared)
        })
    })
}

/// The IPv6 addresses, unless there are too many to look for one by one.
fn few_ipv6_addresses(addresses: &NetworkSet) -> Option<Vec<u128>> {
    let mut few = Vec::new();
    for range in addresses.ranges() {
        let (IpAddr::V6(first), IpAddr::V6(last)) = (*range.start(), *range.end()) else {
            continue;
        };
        let (first, last) = (u128::from(first), u128::from(last));
        if last - first >= (MAX_ADDRESSES - few.len()) as u128 {
            return None;
        }
        few.extend(first..=last);
    }
    Some(few)
}

fn pairs(ranges: impl Iterator<Item = RangeInclusive<u16>>) -> Vec<(u32, u32)> {
    ranges.map(|range| ((*range.start()).into(), (*range.end()).into())).collect()
}

/// Whether the accumulator is in one of `ranges`: a binary search, one
/// comparison for each end of a range.
fn search(code: &mut Assembler, ranges: &[(u32, u32)], inside: Label, outside: Label) -> Label {
    // Where being inside begins, at even positions, and where it ends.
    let edges: Vec<u32> = ranges
        .iter()
        .flat_map(|(first, last)| [Some(*first), last.checked_add(1)])
        .flatten()
        .collect();
    split(code, &edges, [outside, inside])
}

/// `ways` are those below the first of `edges`, and behind it.
fn split(code: &mut Assembler, edges: &[u32], ways: [Label; 2]) -> Label {
    let middle = edges.len() / 2;
    let Some(edge) = edges.get(middle) else { return ways[0] };
    let [below, behind] = if middle.is_multiple_of(2) { ways } else { [ways[1], ways[0]] };
    let upper = split(code, &edges[middle + 1..], [behind, below]);
    let lower = split(code, &edges[..middle], ways);
    code.branch(Condition::AtLeast(*edge), upper, lower)
}
