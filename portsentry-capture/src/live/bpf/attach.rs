//! Attaches programs to sockets.

use std::io;
use std::os::fd::BorrowedFd;

#[cfg(feature = "rings")]
use super::program::Assembler;
use super::program::Instruction;
use crate::live::packet_socket;

/// Numbers of port ranges to try for each protocol, until the kernel has memory for the
/// program.
pub(super) const PORT_RANGES: [usize; 4] = [256, 64, 16, 1];

/// Attaches the most precise program that the kernel has memory for. `write` returns the
/// program for a number of port ranges.
pub(super) fn attach(
    socket: BorrowedFd<'_>,
    write: impl Fn(usize) -> Vec<Instruction>,
) -> io::Result<()> {
    let mut failure = io::ErrorKind::InvalidInput.into();
    for ranges in PORT_RANGES {
        match packet_socket::attach_filter(socket, &write(ranges)) {
            Ok(()) => return Ok(()),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Attaches a filter that drops all packets.
#[cfg(feature = "rings")]
pub(in crate::live) fn attach_drop_all(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut code = Assembler::default();
    code.give(0);
    packet_socket::attach_filter(socket, &code.finish())
}
