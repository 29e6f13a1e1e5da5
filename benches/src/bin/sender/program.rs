//! The frame to send, and the program that turns each copy into a different probe: from a
//! random one of 65,536 sources to a random port, with correct checksums.

use std::net::Ipv4Addr;

use etherparse::PacketBuilder;

use crate::bpf::Instruction;

/// First of the sources, in the network for benchmarks (RFC 2544, appendix C).
const FIRST_SOURCE: [u8; 4] = [198, 18, 0, 0];

// Offsets of fields in a frame: Ethernet, IPv4 without options, TCP.
const IPV4_CHECKSUM: i16 = 24;
const SOURCE_LOW_HALF: i16 = 28;
const TARGET_PORT: i16 = 36;
const TCP_CHECKSUM: i16 = 50;

/// Returns the SYN for this host, with zeros in the fields that vary, and with checksums
/// that are correct for these zeros.
pub(crate) fn template(hardware: [u8; 6], target: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    let written = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], hardware)
        .ipv4(FIRST_SOURCE, target.octets(), 64)
        .tcp(40_000, 0, 1, 1024)
        .syn()
        .write(&mut frame, &[]);
    debug_assert!(written.is_ok(), "no part of this frame can be too long");
    frame
}

/// Number of a register. Calls and the program return their result in 0; calls take
/// arguments in 1 and 2 and preserve 6 to 9.
type Register = u8;

/// Registers of the program.
const RANDOM: Register = 0;
const SOURCE: Register = 6;
const FRAME: Register = 7;
const SUM: Register = 2;
const CARRY: Register = 3;

// Numbers of kernel helpers.
const GET_PRANDOM_U32: i32 = 7;
const REDIRECT: i32 = 23;

/// Returns the program for copies of [`template`]. It varies each copy and sends it
/// through the interface with this index.
///
/// The program computes with 16-bit words in the byte order of the machine: the sum of the
/// checksum is the same in either order (RFC 1071, section 2).
pub(crate) fn program(template: &[u8], interface: u32) -> Vec<Instruction> {
    // The sum of the words that do not vary.
    let sum_at = |offset: i16| {
        let place = offset as usize;
        i32::from(!u16::from_ne_bytes([template[place], template[place + 1]]))
    };
    let vary = [
        call(GET_PRANDOM_U32),
        copy(SOURCE, RANDOM),
        and(SOURCE, 0xffff),
        store_half(FRAME, SOURCE_LOW_HALF, SOURCE),
        shift_right(RANDOM, 16),
        and(RANDOM, 0xffff),
        // There is no port 0.
        skip_unless_zero(RANDOM, 1),
        set(RANDOM, 1),
        store_half(FRAME, TARGET_PORT, RANDOM),
    ];
    let sum_ipv4 = [copy(SUM, SOURCE), add_number(SUM, sum_at(IPV4_CHECKSUM))];
    let sum_tcp = [copy(SUM, SOURCE), add(SUM, RANDOM), add_number(SUM, sum_at(TCP_CHECKSUM))];
    let send = [set(1, interface.cast_signed()), set(2, 0), call(REDIRECT), exit()];

    let varied = [
        vary.as_slice(),
        &sum_ipv4,
        &complement(IPV4_CHECKSUM),
        &sum_tcp,
        &complement(TCP_CHECKSUM),
        &send,
    ]
    .concat();
    // The kernel's verifier requires proof that no access is beyond the end.
    let (to_exit, length) = (varied.len() as i16 - 1, template.len() as i32);
    let begin = [
        load_word(FRAME, 1, 0),
        load_word(CARRY, 1, 4),
        copy(SUM, FRAME),
        add_number(SUM, length),
        // XDP_DROP, for a frame that is too short.
        set(RANDOM, 1),
        skip_if_greater(SUM, CARRY, to_exit),
    ];
    [begin.as_slice(), &varied].concat()
}

/// Folds the sum to 16 bits and stores its complement.
fn complement(offset: i16) -> Vec<Instruction> {
    let fold = [copy(CARRY, SUM), shift_right(CARRY, 16), and(SUM, 0xffff), add(SUM, CARRY)];
    let store = [exclusive_or(SUM, -1), store_half(FRAME, offset, SUM)];
    // The second fold adds the carry of the first.
    [fold.as_slice(), &fold, &store].concat()
}

// Opcodes: RFC 9669, sections 4 and 5.

const fn add(to: Register, from: Register) -> Instruction {
    instruction(0x0f, to, from, 0, 0)
}

const fn add_number(to: Register, number: i32) -> Instruction {
    instruction(0x07, to, 0, 0, number)
}

const fn and(to: Register, number: i32) -> Instruction {
    instruction(0x57, to, 0, 0, number)
}

const fn exclusive_or(to: Register, number: i32) -> Instruction {
    instruction(0xa7, to, 0, 0, number)
}

const fn shift_right(to: Register, bits: i32) -> Instruction {
    instruction(0x77, to, 0, 0, bits)
}

const fn set(to: Register, number: i32) -> Instruction {
    instruction(0xb7, to, 0, 0, number)
}

const fn copy(to: Register, from: Register) -> Instruction {
    instruction(0xbf, to, from, 0, 0)
}

const fn load_word(to: Register, base: Register, offset: i16) -> Instruction {
    instruction(0x61, to, base, offset, 0)
}

const fn store_half(base: Register, offset: i16, from: Register) -> Instruction {
    instruction(0x6b, base, from, offset, 0)
}

const fn skip_unless_zero(register: Register, skipped: i16) -> Instruction {
    instruction(0x55, register, 0, skipped, 0)
}

const fn skip_if_greater(register: Register, than: Register, skipped: i16) -> Instruction {
    instruction(0x2d, register, than, skipped, 0)
}

const fn call(helper: i32) -> Instruction {
    instruction(0x85, 0, 0, 0, helper)
}

const fn exit() -> Instruction {
    instruction(0x95, 0, 0, 0, 0)
}

const fn instruction(
    code: u8,
    to: Register,
    from: Register,
    offset: i16,
    immediate: i32,
) -> Instruction {
    let registers = if cfg!(target_endian = "little") { from << 4 | to } else { to << 4 | from };
    Instruction { code, registers, offset, immediate }
}
