//! Filter for UDP datagrams that this host sends from its own addresses and monitored ports.
//!
//! A host sends far more than that, so the kernel filters as precisely as it can and copies
//! only the headers and the start of the content. Datagrams that arrive from the wire in the name
//! of this host pass too: this host may forward them.

use std::io;
use std::os::fd::BorrowedFd;

use portsentry_core::{NetworkSet, PortSet};

use super::attach::attach;
use super::coarse::coarse;
use super::matching::{
    MAX_ADDRESSES, PACKET_OUTGOING, UDP, ipv4_ranges, ipv6_near, ipv6_within, pairs, search,
};
use super::program::{Ancillary, Assembler, Condition, Instruction, Op};
use crate::decode::ether_type::{IPV4, IPV6};

/// Bytes copied of a datagram: the longest IPv4 header, or an IPv6 and a fragment header, the
/// UDP header, and 16 bytes of content.
pub(in crate::live) const SENT_LENGTH: u32 = 84;

/// Type of loopback interfaces, on which each packet also arrives (`ARPHRD_LOOPBACK`).
const LOOPBACK: u32 = 772;

const FRAGMENT: u32 = 44;

/// Masks of the fragment offset in the fields of IPv4 and IPv6 (RFC 791 section 3.1, RFC 8200
/// section 4.5). Only the first fragment has ports.
const IPV4_OFFSET: u32 = 0x1fff;
const IPV6_OFFSET: u32 = 0xfff8;

/// Attaches a filter to `socket`, whose packets start at the network header. It passes the
/// datagrams that this host sends, or that arrive from the wire, from `ports` at `addresses`. If
/// one of the lists is long, it passes some others too.
///
/// # Errors
///
/// If the kernel has no memory even for the shortest program.
pub(in crate::live) fn attach_sent_filter(
    socket: BorrowedFd<'_>,
    addresses: &NetworkSet,
    ports: &PortSet,
) -> io::Result<()> {
    attach(socket, |ranges| sent(addresses, ports, ranges))
}

/// Returns the program that distinguishes at most `port_ranges` ranges of ports.
pub(super) fn sent(
    addresses: &NetworkSet,
    ports: &PortSet,
    port_ranges: usize,
) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let drop = code.give(0);
    let pass = code.give(SENT_LENGTH);
    let ports = search(&mut code, &coarse(&pairs(ports.ranges()), port_ranges), pass, drop);
    let port = code.ops(&[Op::LoadHalf(0)], ports);

    // A host without an address sends DHCP queries from the unspecified one (RFC 2131 section 4.1).
    let mut own = vec![(0, 0)];
    own.extend(ipv4_ranges(addresses));
    let to_payload = [Op::LoadByte(0), Op::And(0x0f), Op::ShiftLeft(2), Op::ToIndex];
    let v4 = code.ops(&to_payload, port);
    let v4 = search(&mut code, &coarse(&own, MAX_ADDRESSES), v4, drop);
    let v4 = code.ops(&[Op::LoadWord(12)], v4);
    let v4 = code.branch(Condition::HasAnyOf(IPV4_OFFSET), drop, v4);
    let v4 = code.ops(&[Op::LoadHalf(6)], v4);
    let v4 = code.branch(Condition::Equals(UDP), v4, drop);
    let v4 = code.ops(&[Op::LoadByte(9)], v4);

    let first = code.ops(&[Op::SetIndex(48)], port);
    let first = code.branch(Condition::HasAnyOf(IPV6_OFFSET), drop, first);
    let first = code.ops(&[Op::LoadHalf(42)], first);
    let first = code.branch(Condition::Equals(UDP), first, drop);
    let first = code.ops(&[Op::LoadByte(40)], first);
    let v6 = code.branch(Condition::Equals(FRAGMENT), first, drop);
    let whole = code.ops(&[Op::SetIndex(40)], port);
    let v6 = code.branch(Condition::Equals(UDP), whole, v6);
    let v6 = code.ops(&[Op::LoadByte(6)], v6);
    let v6 = match ipv6_within(&mut code, addresses, 8, v6, drop) {
        Some(precise) => precise,
        None => ipv6_near(&mut code, addresses, 8, v6, drop),
    };

    let start = code.branch(Condition::Equals(IPV6.into()), v6, drop);
    let start = code.branch(Condition::Equals(IPV4.into()), v4, start);
    let start = code.ops(&[Op::LoadAncillary(Ancillary::Protocol)], start);
    let arriving = code.branch(Condition::Equals(LOOPBACK), drop, start);
    let arriving = code.ops(&[Op::LoadAncillary(Ancillary::InterfaceType)], arriving);
    let start = code.branch(Condition::Equals(PACKET_OUTGOING), start, arriving);
    code.ops(&[Op::SetIndex(0), Op::LoadAncillary(Ancillary::PacketType)], start);
    code.finish()
}
