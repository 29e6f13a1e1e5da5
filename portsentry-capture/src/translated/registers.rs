//! The registers of nf_tables, with the fields of the packet that they hold.
//!
//! Expressions load parts of a packet into registers and compare them. Each byte of a register is
//! followed to the field that it was loaded from. A byte of another origin is unknown, and a
//! comparison with it constrains nothing.

use std::collections::BTreeMap;

use super::class::{Constraint, Field};
use super::ranges::Ranges;

/// Bytes of all registers: sixteen of 32 bits (`NFT_REG32_00` and following).
const SIZE: usize = 64;

/// Place of a register: the offset of its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Register(usize);

impl Register {
    /// Returns the register with this number (`enum nft_registers`): 1 to 4 are registers of 128
    /// bits, 8 to 23 those of 32 bits in the same place. `None` for 0, the verdict.
    pub(super) fn of(number: u32) -> Option<Self> {
        let number = number as usize;
        match number {
            1..=4 => Some(Self((number - 1) * 16)),
            8..=23 => Some(Self((number - 8) * 4)),
            _ => None,
        }
    }
}

/// A byte of a field, of which only the bits of `mask` are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Byte {
    field: Field,
    place: usize,
    mask: u8,
}

/// Contents of the registers.
#[derive(Clone, Debug)]
pub(super) struct Registers([Option<Byte>; SIZE]);

/// Constraint of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) constraint: Constraint,
    /// Whether the comparison is about one field and nothing else, so that its opposite is known.
    pub(super) is_exact: bool,
}

impl Registers {
    pub(super) const fn new() -> Self {
        Self([None; SIZE])
    }

    /// Loads bytes of a field, from byte `place` of it on; `None` for a byte of no field. The
    /// rest of the last 32 bits is unknown.
    pub(super) fn load(
        &mut self,
        to: Register,
        bytes: impl Iterator<Item = Option<(Field, usize)>>,
    ) {
        let places = self.0.iter_mut().skip(to.0);
        for (place, byte) in places.zip(bytes) {
            *place = byte.map(|(field, place)| Byte { field, place, mask: u8::MAX });
        }
    }

    /// Forgets everything from a register on, because something of unknown length is written.
    pub(super) fn forget(&mut self, from: Register) {
        self.0.iter_mut().skip(from.0).for_each(|byte| *byte = None);
    }

    pub(super) fn forget_all(&mut self) {
        *self = Self::new();
    }

    /// Copies as many bytes as `mask` has, of which only the bits of `mask` remain known.
    pub(super) fn mask(&mut self, from: Register, to: Register, mask: &[u8]) {
        let source = self.0;
        let bytes = source.iter().skip(from.0).zip(mask);
        for (place, (byte, mask)) in self.0.iter_mut().skip(to.0).zip(bytes) {
            *place = byte.map(|byte| Byte { mask: byte.mask & mask, ..byte });
        }
    }

    /// Returns the constraint that the bytes at `at` are between `low` and `high`, which have the
    /// same length.
    pub(super) fn between(&self, at: Register, low: &[u8], high: &[u8]) -> Comparison {
        let end = at.0 + low.len();
        let Some(key) = self.0.get(at.0..end) else { return Comparison::default() };
        let mut fields: BTreeMap<Field, [[u8; 16]; 3]> = BTreeMap::new();
        for ((byte, low), high) in key.iter().zip(low).zip(high) {
            let Some(byte) = byte else { continue };
            let place = 16 - byte.field.width() + byte.place;
            let numbers = fields.entry(byte.field).or_default();
            for (number, value) in numbers.iter_mut().zip([byte.mask, *low, *high]) {
                if let Some(place) = number.get_mut(place) {
                    *place = value;
                }
            }
        }
        let mut is_exact = fields.len() == 1 && key.iter().all(Option::is_some);
        let mut constraint = Constraint::new();
        for (field, numbers) in fields {
            let [mask, low, high] = numbers.map(u128::from_be_bytes);
            let free = field.greatest() & !mask;
            // Only a prefix of the field is compared, or all of it.
            if free & free.wrapping_add(1) != 0 {
                is_exact = false;
                continue;
            }
            constraint.insert(field, Ranges::of(low & mask, (high & mask) | free));
        }
        Comparison { constraint, is_exact }
    }

    /// Returns whether any of `length` bytes at `at` belongs to a field.
    pub(super) fn knows(&self, at: Register, length: usize) -> bool {
        self.0.iter().skip(at.0).take(length).any(Option::is_some)
    }
}

impl Comparison {
    /// Returns the opposite of an exact comparison, otherwise nothing.
    pub(super) fn opposite(&self) -> Constraint {
        if !self.is_exact {
            return Constraint::new();
        }
        let opposite = self
            .constraint
            .iter()
            .map(|(field, values)| (*field, values.complement(field.greatest())));
        opposite.collect()
    }
}
