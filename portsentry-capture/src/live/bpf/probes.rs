//! Filter for packets that may be probes.

use std::os::fd::BorrowedFd;

use portsentry_core::{NetworkSet, PortSet};

use super::attach::attach;
use super::coarse::coarse;
use super::matching::{
    Ends, MAX_ADDRESSES, PACKET_OTHERHOST, PACKET_OUTGOING, UDP, ether_type, ipv4_ranges,
    ipv6_within, pairs, search,
};
use super::program::{Ancillary, Assembler, Condition, Instruction, Label, Op};
use crate::live::{MAX_SNAP_LENGTH, SNAP_LENGTH, Watched, packet_socket};

const TCP: u32 = 6;
const AUTHENTICATION: u32 = 51;

/// Extension headers between the IPv6 header and the ports: those of RFC 8200, RFC 4302,
/// RFC 6275, RFC 7401 and RFC 5533. ESP is missing, because it hides the ports.
const EXTENSION_HEADERS: [u32; 8] = [0, 43, 44, AUTHENTICATION, 60, 135, 139, 140];

/// TCP flags that no probe has.
const RST_OR_ACK: u32 = 0x04 | 0x10;

/// Mask of "more fragments" and the offset (RFC 791 section 3.1).
const FRAGMENT: u32 = 0x3fff;

/// Attaches a filter to `socket` that drops packets which cannot be probes of the `watched`
/// addresses and ports. `network` is the offset of the network header in received packets.
///
/// The memory for filters is bounded (`net.core.optmem_max`). If it does not suffice even for a
/// coarse program, all packets pass, which costs time but loses no probe. A warning is logged
/// then; `name` is the interface.
pub(in crate::live) fn attach_probe_filter(
    socket: BorrowedFd<'_>,
    network: u32,
    watched: &Watched,
    name: &str,
) {
    let attached = attach(socket, |ranges| candidates(network, watched, ranges));
    let Err(failure) = attached else { return };
    // An earlier filter may drop packets that are watched now.
    let detached = packet_socket::detach_filter(socket);
    let error = detached.err().unwrap_or(failure);
    log::warn!("interface {name}: cannot set the packet filter, so all packets are read: {error}");
}

/// Returns the program for frames with a network header at offset `network`. It distinguishes
/// at most `port_ranges` ranges of TCP ports, and as many of UDP ports.
pub(super) fn candidates(network: u32, watched: &Watched, port_ranges: usize) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let drop = code.give(0);
    let whole = code.give(MAX_SNAP_LENGTH);
    let pass = code.give(SNAP_LENGTH);

    let port = |ports: &PortSet| coarse(&pairs(ports.ranges()), port_ranges);
    let udp = search(&mut code, &port(&watched.udp_ports), pass, drop);
    let udp = code.ops(&[Op::LoadHalf(2)], udp);
    let tcp = search(&mut code, &port(&watched.tcp_ports), pass, drop);
    let tcp = code.ops(&[Op::LoadHalf(2)], tcp);
    let tcp = code.branch(Condition::HasAnyOf(RST_OR_ACK), drop, tcp);
    let tcp = code.ops(&[Op::LoadByte(13)], tcp);

    let ends = Ends { pass, whole, drop };
    let v4 = ipv4(&mut code, &watched.addresses, [tcp, udp], ends);
    let v6 = ipv6(&mut code, &watched.addresses, [tcp, udp], ends);
    let start = ether_type(&mut code, v4, v6, ends);
    // Outgoing packets are not probes of this host. The loopback interface captures each packet
    // twice, outgoing and incoming, and this keeps the incoming one.
    let start = code.ops(&[Op::LoadAncillary(Ancillary::Protocol)], start);
    let start = code.any_of(&[PACKET_OUTGOING, PACKET_OTHERHOST], drop, start);
    code.ops(&[Op::SetIndex(network), Op::LoadAncillary(Ancillary::PacketType)], start);
    code.finish()
}

/// Writes the test of an IPv4 packet, with the index at its header. Fragments pass before their
/// ports are tested: `nmap -f` sends eight bytes of TCP at a time, and the kernel drops a packet
/// if the program reads after its end.
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

/// Writes the test of an IPv6 packet, with the index at its header. A packet with extension headers
/// passes whole, because the chain of headers may be as long as the packet.
fn ipv6(code: &mut Assembler, addresses: &NetworkSet, [tcp, udp]: [Label; 2], ends: Ends) -> Label {
    let to_payload = [Op::FromIndex, Op::Add(40), Op::ToIndex];
    let (tcp, udp) = (code.ops(&to_payload, tcp), code.ops(&to_payload, udp));
    let other = code.any_of(&EXTENSION_HEADERS, ends.whole, ends.drop);
    let other = code.branch(Condition::Equals(UDP), udp, other);
    let protocol = code.branch(Condition::Equals(TCP), tcp, other);
    let own = code.ops(&[Op::LoadByte(6)], protocol);
    ipv6_within(code, addresses, 24, own, ends.drop).unwrap_or(own)
}
