//! Programs for the kernel's packet filter: classic BPF, as
//! `Documentation/networking/filter.rst` of Linux describes it.
//!
//! A program is written from its end to its start. Jumps lead forward only, so
//! whatever an instruction can jump to stands already, every distance is known,
//! and no program with a loop can be written. Nothing here knows packets.

/// One instruction, as `struct sock_filter` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::live) struct Instruction {
    pub(in crate::live) code: u16,
    /// Instructions to skip when a condition holds, and when it does not.
    pub(in crate::live) jump_true: u8,
    pub(in crate::live) jump_false: u8,
    pub(in crate::live) operand: u32,
}

/// What an instruction without a jump does, to the accumulator if nothing else
/// is named. Offsets count from the index register.
#[derive(Clone, Copy, Debug)]
pub(super) enum Op {
    /// Loads a byte, two, or four in network byte order. A packet that ends
    /// before them is held back by the kernel.
    LoadByte(u32),
    LoadHalf(u32),
    LoadWord(u32),
    /// Loads a field of the packet's metadata.
    LoadAncillary(Ancillary),
    /// Loads what was [saved](Self::Save) in this cell.
    Restore(u32),
    /// Keeps the accumulator in one of the 16 cells that a program has.
    Save(u32),
    And(u32),
    Add(u32),
    /// Multiplies, and keeps the lower 32 bits.
    Multiply(u32),
    ShiftLeft(u32),
    ShiftRight(u32),
    /// Adds the index register.
    AddIndex,
    /// Flips the bits that are set in the index register.
    FlipByIndex,
    /// Copies to the index register, and from it.
    ToIndex,
    FromIndex,
    /// Sets the index register.
    SetIndex(u32),
}

/// Metadata that the kernel keeps for a packet (`SKF_AD_*` of `linux/filter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ancillary {
    /// The EtherType behind the tag that the kernel took off, if it did.
    Protocol,
    /// To whom the packet is addressed at the link layer, as
    /// [`PACKET_OUTGOING`](super::PACKET_OUTGOING) has it.
    PacketType,
}

/// When a jump is taken, by the accumulator.
#[derive(Clone, Copy, Debug)]
pub(super) enum Condition {
    Equals(u32),
    AtLeast(u32),
    /// Any of these bits is set.
    HasAnyOf(u32),
}

/// An instruction to go on with, by its distance from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// A program, half written.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    /// The last instruction first.
    reversed: Vec<Instruction>,
    /// For targets that were out of reach, the jump that leads there.
    bridges: Vec<(Label, Label)>,
}

impl Assembler {
    /// Ends with so many bytes of the packet let through; 0 holds it back.
    pub(super) fn give(&mut self, bytes: u32) -> Label {
        self.put(0x06, bytes)
    }

    /// Ends with what is in the accumulator.
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

    /// Goes on at `then` if `condition` holds, else at `otherwise`.
    pub(super) fn branch(&mut self, condition: Condition, then: Label, otherwise: Label) -> Label {
        // Bridging the second may push the first away by one.
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
            // `reach` has seen to it that neither is cut off.
            jump_true: u8::try_from(jump_true).unwrap_or(u8::MAX),
            jump_false: u8::try_from(jump_false).unwrap_or(u8::MAX),
            operand,
        })
    }

    /// Goes on at `then` if any of `values` equals the accumulator.
    pub(super) fn any_of(&mut self, values: &[u32], then: Label, otherwise: Label) -> Label {
        values
            .iter()
            .rev()
            .fold(otherwise, |next, value| self.branch(Condition::Equals(*value), then, next))
    }

    /// The program, from its start, which is what was written last.
    pub(super) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }

    /// `target`, or a jump to it that is at most `farthest` instructions away
    /// from the next one.
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

    /// Instructions between the next one to be written and `target`.
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

/// A conditional jump has eight bits for its distance.
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
    /// Ancillary fields are loaded from offsets at which no packet has bytes, from
    /// `SKF_AD_OFF` on.
    pub(super) fn offset(self) -> u32 {
        let offset: i32 = match self {
            Self::Protocol => 0,
            Self::PacketType => 4,
        };
        (offset - 0x1000).cast_unsigned()
    }
}
