//! Filter for the notifications of a netlink socket about interfaces, addresses and routes.
//!
//! A router with all routes of the Internet changes many of them each second. Only the few that
//! define which destinations are local wake the reader.

use std::io;
use std::os::fd::BorrowedFd;

use super::program::{Assembler, Instruction, Op};
use crate::live::packet_socket;
use crate::netlink::rtnetlink::{
    RTM_DELROUTE, RTM_NEWROUTE, RTN_ANYCAST, RTN_BROADCAST, RTN_LOCAL,
};

/// Offsets of `nlmsg_type`, and of `rtm_type` after the header of 16 bytes.
const TYPE: u32 = 4;
const ROUTE_TYPE: u32 = 16 + 7;

/// Attaches a filter to a netlink socket that drops notifications of other routes than local,
/// broadcast and anycast ones.
///
/// # Errors
///
/// If the kernel has no memory for it.
pub(crate) fn attach_local_route_filter(socket: BorrowedFd<'_>) -> io::Result<()> {
    packet_socket::attach_filter(socket, &local_routes())
}

fn local_routes() -> Vec<Instruction> {
    // Netlink numbers have the byte order of the processor, and the program reads network order.
    let in_program = |kind: u16| u32::from(u16::from_be_bytes(kind.to_ne_bytes()));
    let mut code = Assembler::default();
    let drop = code.give(0);
    let pass = code.give(u32::MAX);
    let route = code.any_of(&[RTN_LOCAL, RTN_BROADCAST, RTN_ANYCAST].map(u32::from), pass, drop);
    let route = code.ops(&[Op::LoadByte(ROUTE_TYPE)], route);
    let start = code.any_of(&[RTM_NEWROUTE, RTM_DELROUTE].map(in_program), route, pass);
    code.ops(&[Op::SetIndex(0), Op::LoadHalf(TYPE)], start);
    code.finish()
}
