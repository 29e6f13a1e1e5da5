//! Assembler for classic BPF, the language of the kernel's packet filter
//! (`Documentation/networking/filter.rst` of Linux).
//!
//! A program is written from its end to its start. Jumps lead forward only, so every target is
//! already written and every distance is known. A program with a loop cannot be written. This
//! module does not know the format of packets.

/// One instruction, with the fields of `struct sock_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::live) struct Instruction {
    pub(in crate::live) code: u16,
    /// Numbers of instructions to skip if the condition is true, and if it is false.
    pub(in crate::live) jump_true: u8,
    pub(in crate::live) jump_false: u8,
    pub(in crate::live) operand: u32,
}

/// An operation without a jump. Its result goes to the accumulator unless stated otherwise.
/// Offsets count from the index register.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Loads one, two or four bytes in network byte order. The kernel drops a packet that ends
    /// before them.
    LoadByte(u32),
    LoadHalf(u32),
    LoadWord(u32),
    /// Loads a field of the packet's metadata.
    LoadAncillary(Ancillary),
    /// Loads the value that [`Save`](Self::Save) stored in this cell.
    Restore(u32),
    /// Stores the accumulator in one of the 16 cells of a program.
    Save(u32),
    And(u32),
    Add(u32),
    /// Multiplies; the result is the lower 32 bits.
    Multiply(u32),
    ShiftLeft(u32),
    ShiftRight(u32),
    /// Adds the index register.
    AddIndex,
    /// Flips the bits that are set in the index register.
    FlipByIndex,
    /// Copies the accumulator to the index register, or the reverse.
    ToIndex,
    FromIndex,
    /// Sets the index register.
    SetIndex(u32),
}

/// Metadata that the kernel keeps for a packet (`SKF_AD_*` of `linux/filter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ancillary {
    /// The EtherType, after the tag that the kernel removed if there was one.
    Protocol,
    /// The destination at the link layer, for example
    /// [`PACKET_OUTGOING`](super::PACKET_OUTGOING).
    PacketType,
    /// The type of the interface (`ARPHRD_*` of `linux/if_arp.h`).
    InterfaceType,
}

/// Condition on the accumulator for a jump.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    Equals(u32),
    AtLeast(u32),
    /// Any of these bits is set.
    HasAnyOf(u32),
}

/// An instruction as the target of jumps, by its distance from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program that is being written.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The instructions, the last one first.
    reversed: Vec<Instruction>,
    /// Jumps to targets that are too far for a conditional jump.
    bridges: Vec<(Label, Label)>,
}

impl Assembler {
    /// Ends the program and passes this number of bytes of the packet; 0 drops it.
    pub(super) fn give(&mut self, bytes: u32) -> Label {
        self.put(0x06, bytes)
    }

    /// Ends the program with the accumulator as its result.
    pub(super) fn give_accumulator(&mut self) -> Label {
        self.put(0x16, 0)
    }

    /// Runs `ops` in order and continues at `next`.
    pub(super) fn ops(&mut self, ops: &[Op], next: Label) -> Label {
        let mut start = self.reach(next, 0);
        for op in ops.iter().rev() {
            let (code, operand) = op.encode();
            start = self.put(code, operand);
        }
        start
    }

    /// Continues at `then` if `condition` is true, otherwise at `otherwise`.
    pub(super) fn branch(&mut self, condition: Condition, then: Label, otherwise: Label) -> Label {
        // A bridge for the second target moves the first one away by one instruction.
        let then = self.reach(then, FARTHEST - 1);
        let otherwise = self.reach(otherwise, FARTHEST);
        let (code, operand) = match condition {
            Condition::Equals(value) => (0x15, value),
            Condition::AtLeast(value) => (0x35, value),
            Condition::HasAnyOf(bits) => (0x45, bits),
        };
        let (jump_true, jump_false) = (self.distance(then), self.distance(otherwise));
        self.push(Instruction {
            code,
            // After `reach`, both distances fit into a byte.
            jump_true: u8::try_from(jump_true).unwrap_or(u8::MAX),
            jump_false: u8::try_from(jump_false).unwrap_or(u8::MAX),
            operand,
        })
    }

    /// Continues at `then` if any of `values` equals the accumulator.
    pub(super) fn any_of(&mut self, values: &[u32], then: Label, otherwise: Label) -> Label {
        values
            .iter()
            .rev()
            .fold(otherwise, |next, value| self.branch(Condition::Equals(*value), then, next))
    }

    /// Returns the program. It starts with the instruction written last.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// Returns `target`, or a jump to it that is at most `farthest` instructions away from the next
    /// one.
    fn reach(&mut self, target: Label, farthest: usize) -> Label {
        if self.distance(target) <= farthest {
            return target;
        }
        let bridge = self.bridges.iter().position(|(to, _)| *to == target);
        match bridge.and_then(|at| Some((at, self.bridges.get(at)?.1))) {
            Some((_, bridge)) if self.distance(bridge) <= farthest => return bridge,
            Some((at, _)) => drop(self.bridges.swap_remove(at)),
            None => {}
        }
        let distance = u32::try_from(self.distance(target)).unwrap_or(u32::MAX);
        let bridge = self.put(0x05, distance);
        self.bridges.push((target, bridge));
        bridge
    }

    /// Returns the number of instructions between the next one to write and `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - target.0
    }

    fn put(&mut self, code: u16, operand: u32) -> Label {
        self.push(Instruction { code, jump_true: 0, jump_false: 0, operand })
    }

    fn push(&mut self, instruction: Instruction) -> Label {
        self.reversed.push(instruction);
        Label(self.reversed.len())
    }
}

/// Maximum distance of a conditional jump, which has eight bits.
const FARTHEST: usize = u8::MAX as usize;

impl Op {
    fn encode(self) -> (u16, u32) {
        match self {
            Self::LoadByte(offset) => (0x50, offset),
            Self::LoadHalf(offset) => (0x48, offset),
            Self::LoadWord(offset) => (0x40, offset),
            Self::LoadAncillary(field) => (0x20, field.offset()),
            Self::Restore(cell) => (0x60, cell),
            Self::Save(cell) => (0x02, cell),
            Self::And(value) => (0x54, value),
            Self::Add(value) => (0x04, value),
            Self::Multiply(value) => (0x24, value),
            Self::ShiftLeft(bits) => (0x64, bits),
            Self::ShiftRight(bits) => (0x74, bits),
            Self::AddIndex => (0x0c, 0),
            Self::FlipByIndex => (0xac, 0),
            Self::ToIndex => (0x07, 0),
            Self::FromIndex => (0x87, 0),
            Self::SetIndex(value) => (0x01, value),
        }
    }
}

impl Ancillary {
    /// Returns the offset of the field. The offsets from `SKF_AD_OFF` on are reserved for such
    /// fields.
    pub(super) fn offset(self) -> u32 {
        let offset: i32 = match self {
            Self::Protocol => 0,
            Self::PacketType => 4,
            Self::InterfaceType => 28,
        };
        (offset - 0x1000).cast_unsigned()
    }
}
