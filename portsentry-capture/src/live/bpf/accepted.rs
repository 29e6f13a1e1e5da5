//! Filter for the SYN-ACK segments that this host sends from its own addresses and monitored
//! ports.

use std::io;
use std::os::fd::BorrowedFd;

use portsentry_core::{NetworkSet, PortSet};

use super::attach::attach;
use super::coarse::coarse;
use super::matching::{MAX_ADDRESSES, PACKET_OUTGOING, TCP, ipv4_ranges, pairs, search};
use super::program::{Ancillary, Assembler, Condition, Instruction, Op};
use crate::decode::ether_type::{IPV4, IPV6};

/// Bytes copied of a segment: the longest IPv4 header, or an IPv6 header, and both ports.
pub(in crate::live) const ACCEPTED_LENGTH: usize = 64;

/// The bits SYN and ACK of the 14th byte of a TCP header (RFC 9293 section 3.1).
const SYN_ACK: u32 = 0x12;

/// Attaches a filter to `socket`, whose packets start at the network header. It passes the
/// segments with SYN and ACK that this host sends from `ports` at `addresses`. If a list is
/// long, it passes some others too; it does not compare IPv6 addresses.
///
/// # Errors
///
/// If the kernel has no memory even for the shortest program.
pub(in crate::live) fn attach_accepted_filter(
    socket: BorrowedFd<'_>,
    addresses: &NetworkSet,
    ports: &PortSet,
) -> io::Result<()> {
    attach(socket, |ranges| accepted(addresses, ports, ranges))
}

/// Returns the program that distinguishes at most `port_ranges` ranges of ports.
pub(super) fn accepted(
    addresses: &NetworkSet,
    ports: &PortSet,
    port_ranges: usize,
) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let drop = code.give(0);
    let pass = code.give(ACCEPTED_LENGTH as u32);
    let port = search(&mut code, &coarse(&pairs(ports.ranges()), port_ranges), pass, drop);
    let port = code.ops(&[Op::LoadHalf(0)], port);
    let flags = code.branch(Condition::Equals(SYN_ACK), port, drop);
    let flags = code.ops(&[Op::LoadByte(13), Op::And(SYN_ACK)], flags);

    let to_payload = [Op::LoadByte(0), Op::And(0x0f), Op::ShiftLeft(2), Op::ToIndex];
    let v4 = code.ops(&to_payload, flags);
    let own = coarse(&ipv4_ranges(addresses), MAX_ADDRESSES);
    let v4 = search(&mut code, &own, v4, drop);
    let v4 = code.ops(&[Op::LoadWord(12)], v4);
    let v4 = code.branch(Condition::Equals(TCP), v4, drop);
    let v4 = code.ops(&[Op::LoadByte(9)], v4);

    let v6 = code.ops(&[Op::SetIndex(40)], flags);
    let v6 = code.branch(Condition::Equals(TCP), v6, drop);
    let v6 = code.ops(&[Op::LoadByte(6)], v6);

    let start = code.branch(Condition::Equals(IPV6.into()), v6, drop);
    let start = code.branch(Condition::Equals(IPV4.into()), v4, start);
    let start = code.ops(&[Op::LoadAncillary(Ancillary::Protocol)], start);
    let start = code.branch(Condition::Equals(PACKET_OUTGOING), start, drop);
    code.ops(&[Op::SetIndex(0), Op::LoadAncillary(Ancillary::PacketType)], start);
    code.finish()
}
