//! The program that selects the ring of a packet, by the hash of its source address.
//!
//! The kernel runs it for each packet, before the filters of the rings. The packet starts at the
//! network header. Packets without a source address go to the first ring.

use std::io;
use std::os::fd::BorrowedFd;

use super::matching::{Ends, ether_type};
use super::program::{Ancillary, Assembler, Instruction, Label, Op};
use crate::live::{SourceHash, packet_socket};

/// Lets the kernel distribute the packets of the fanout group of `socket` by `hash`.
pub(in crate::live) fn attach_fanout_program(
    socket: BorrowedFd<'_>,
    hash: &SourceHash,
) -> io::Result<()> {
    packet_socket::set_fanout(socket, &source(hash))
}

/// Returns the program that computes the hash of the source.
fn source(hash: &SourceHash) -> Vec<Instruction> {
    let mut code = Assembler::default();
    let nothing = code.give(0);
    // Offsets of the words of the source address (RFC 791 section 3.1, RFC 8200 section 3).
    let v4 = address(&mut code, hash, &[12]);
    let v6 = address(&mut code, hash, &[8, 12, 16, 20]);
    let start =
        ether_type(&mut code, v4, v6, Ends { pass: nothing, whole: nothing, drop: nothing });
    code.ops(&[Op::SetIndex(0), Op::LoadAncillary(Ancillary::Protocol)], start);
    code.finish()
}

/// Writes the hash of the words at these offsets, with the index at the header. The words are
/// saved first, because the hash needs the index register.
fn address(code: &mut Assembler, hash: &SourceHash, offsets: &[u32]) -> Label {
    let mut ops = Vec::new();
    for (cell, offset) in (0..).zip(offsets) {
        ops.extend([Op::LoadWord(*offset), Op::Save(cell)]);
    }
    let stir = |by, bits| [Op::Multiply(by), Op::ToIndex, Op::ShiftRight(bits), Op::FlipByIndex];
    ops.push(Op::SetIndex(hash.seed));
    for (cell, _) in (0..).zip(offsets) {
        ops.extend([Op::Restore(cell), Op::FlipByIndex]);
        ops.extend(stir(hash.each, SourceHash::EACH));
        ops.push(Op::ToIndex);
    }
    ops.extend(stir(hash.last, SourceHash::LAST));
    let end = code.give_accumulator();
    code.ops(&ops, end)
}
