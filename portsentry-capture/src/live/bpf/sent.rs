//! Of what this host sends: UDP datagrams from its own addresses and monitored
//! ports.
//!
//! A host sends far more than that, so what can be told apart is told apart by
//! the kernel, and of what passes only the headers are copied.

use std::io;
use std::os::fd::BorrowedFd;

use portsentry_core::{Networks, PortSet};

use super::coarse::coarse;
use super::program::{Assembler, Condition, Fact, Instruction, Step};
use super::{IPV4, IPV6, MAX_ADDRESSES, PACKET_OUTGOING, UDP, attach, ipv4_ranges, pairs, search};

/// Bytes of a datagram that pass: the longest IPv4 header, or that of IPv6 and of
/// a fragment, and the UDP header behind it.
pub(in crate::live) const SENT_LENGTH: u32 = 68;

const FRAGMENT: u32 = 44;

/// The offset in the fields of IPv4 and of IPv6 that hold it (RFC 791 section
/// 3.1, RFC 8200 section 4.5). Only the first fragment has ports.
const IPV4_OFFSET: u32 = 0x1fff;
const IPV6_OFFSET: u32 = 0xfff8;

/// Has the kernel give `socket`, which receives from the network header on, the
/// datagrams that this host sends from `ports` at `addresses`, and nothing else;
/// where the list of ports is long, some more.
///
/// # Errors
///
/// When the kernel has no memory for a program either of any length.
pub(in crate::live) fn pass_sent(
    socket: BorrowedFd<'_>,
    addresses: &Networks,
    ports: &PortSet,
) -> io::Result<()> {
    attach(socket, |ranges| sent(addresses, ports, ranges))
}

/// The program that tells at most `port_ranges` ranges of ports apart.
pub(super) fn sent(addresses: &Networks, ports: &PortSet, port_ranges: usize) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let drop = code.give(0);
    let pass = code.give(SENT_LENGTH);
    let ports = search(&mut code, &coarse(&pairs(ports.ranges()), port_ranges), pass, drop);
    let port = code.steps(&[Step::LoadHalf(0)], ports);

    // Without an own address a host asks for one (RFC 2131 section 4.1).
    let mut own = vec![(0, 0)];
    own.extend(ipv4_ranges(addresses));
    let to_payload = [Step::LoadByte(0), Step::And(0x0f), Step::ShiftLeft(2), Step::ToIndex];
    let v4 = code.steps(&to_payload, port);
    let v4 = search(&mut code, &coarse(&own, MAX_ADDRESSES), v4, drop);
    let v4 = code.steps(&[Step::LoadWord(12)], v4);
    let v4 = code.branch(Condition::HasAnyOf(IPV4_OFFSET), drop, v4);
    let v4 = code.steps(&[Step::LoadHalf(6)], v4);
    let v4 = code.branch(Condition::Equals(UDP), v4, drop);
    let v4 = code.steps(&[Step::LoadByte(9)], v4);

    let first = code.steps(&[Step::SetIndex(48)], port);
    let first = code.branch(Condition::HasAnyOf(IPV6_OFFSET), drop, first);
    let first = code.steps(&[Step::LoadHalf(42)], first);
    let first = code.branch(Condition::Equals(UDP), first, drop);
    let first = code.steps(&[Step::LoadByte(40)], first);
    let v6 = code.branch(Condition::Equals(FRAGMENT), first, drop);
    let whole = code.steps(&[Step::SetIndex(40)], port);
    let v6 = code.branch(Condition::Equals(UDP), whole, v6);
    let v6 = code.steps(&[Step::LoadByte(6)], v6);

    let start = code.branch(Condition::Equals(IPV6.into()), v6, drop);
    let start = code.branch(Condition::Equals(IPV4.into()), v4, start);
    let start = code.steps(&[Step::LoadFact(Fact::Protocol)], start);
    let start = code.branch(Condition::Equals(PACKET_OUTGOING), start, drop);
    code.steps(&[Step::SetIndex(0), Step::LoadFact(Fact::PacketType)], start);
    code.finish()
}
