//! The expressions of a rule (`linux/netfilter/nf_tables.h`).

use super::attributes::{INET, IPV4, IPV6, attribute, attributes, name, number};
use super::class::{Class, Constraint, Field};
use super::compat;
use super::registers::{Register, Registers};

/// Longest part of a packet that an expression loads.
const MAX_LOAD: u32 = 64;

/// An expression, as far as it matters for translations.
#[derive(Debug)]
pub(super) enum Expression<'a> {
    /// The registers have changed, or nothing has.
    Done,
    /// Later expressions see only packets that meet this constraint. The flag is that of
    /// [`Class::narrow`].
    Narrow(Constraint, bool),
    /// Only packets whose key is in the set, or is not, continue.
    Lookup(Lookup<'a>),
    Verdict(Verdict<'a>),
    /// The destination is translated; in a table for both families only for packets of one, if
    /// it is set.
    Translate(Option<u8>),
}

/// A search in a set or map.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup<'a> {
    pub(super) set: &'a [u8],
    pub(super) key: Register,
    /// Whether packets continue that are not in the set.
    pub(super) inverted: bool,
}

/// The verdict of a rule or an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Verdict<'a> {
    /// Continue in this chain, by a jump or a goto.
    Chain(&'a [u8]),
    /// The evaluation of the chain ends.
    End,
    /// The evaluation continues behind the expression.
    Continue,
}

impl<'a> Expression<'a> {
    /// Carries out an expression on `registers`. `classes` are the packets that reach it.
    pub(super) fn evaluate(
        bytes: &'a [u8],
        registers: &mut Registers,
        classes: &[Class],
    ) -> Expression<'a> {
        let (Some(kind), Some(data)) = (name(bytes, 1), attribute(bytes, 2)) else {
            // Without data, for example `notrack`.
            return Self::Done;
        };
        match kind {
            b"payload" => payload(data, registers, classes),
            b"meta" => meta(data, registers),
            b"bitwise" => bitwise(data, registers),
            b"cmp" => compare(data, registers).unwrap_or(Self::Done),
            b"range" => range(data, registers).unwrap_or(Self::Done),
            b"lookup" => lookup(data, registers),
            b"immediate" => immediate(data, registers),
            // `NFTA_NAT_TYPE`, `NFTA_NAT_FAMILY`
            b"nat" if number(data, 1) == Some(1) => {
                Self::Translate(number(data, 2).and_then(|family| family.try_into().ok()))
            }
            b"redir" | b"tproxy" => Self::Translate(None),
            b"target" if name(data, 1).is_some_and(compat::translates) => Self::Translate(None),
            b"match" => compat::constraint(data)
                .map_or(Self::Done, |(constraint, names)| Self::Narrow(constraint, names)),
            b"counter" | b"log" | b"limit" | b"quota" | b"connlimit" | b"last" | b"nat"
            | b"masq" | b"target" | b"reject" | b"objref" | b"dynset" | b"notrack"
            | b"synproxy" | b"queue" | b"dup" | b"fwd" | b"flow_offload" => Self::Done,
            // Loads something else, or is not known here.
            _ => {
                registers.forget_all();
                Self::Done
            }
        }
    }
}

/// Returns the names and data of the expressions of a rule.
pub(super) fn expressions(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    attributes(list).filter(|(kind, _)| *kind == 1).map(|(_, expression)| expression)
}

fn register(data: &[u8], kind: u16) -> Option<Register> {
    number(data, kind).and_then(Register::of)
}

/// Returns the bytes of `NFTA_DATA_VALUE` in an attribute.
fn value(data: &[u8], kind: u16) -> Option<&[u8]> {
    attribute(attribute(data, kind)?, 1).filter(|value| !value.is_empty())
}

/// `NFTA_PAYLOAD_DREG`, `_BASE`, `_OFFSET`, `_LEN`. A payload expression without a destination
/// writes to the packet.
fn payload<'a>(data: &'a [u8], registers: &mut Registers, classes: &[Class]) -> Expression<'a> {
    const NETWORK: u32 = 1;
    const TRANSPORT: u32 = 2;
    let Some(to) = register(data, 1) else { return Expression::Done };
    let (base, offset) = (number(data, 2), number(data, 3).unwrap_or_default());
    let length = number(data, 4).unwrap_or_default().min(MAX_LOAD);
    let is_v4 = classes.iter().all(|class| class.v6.is_empty());
    let is_v6 = classes.iter().all(|class| class.v4.is_empty());
    let field = |at: u32| {
        let (field, start) = match (base, at) {
            (Some(TRANSPORT), 2..4) => (Field::Port, 2),
            // RFC 791 section 3.1
            (Some(NETWORK), 9) if is_v4 => (Field::Protocol, 9),
            (Some(NETWORK), 16..20) if is_v4 => (Field::V4, 16),
            // RFC 8200 section 3
            (Some(NETWORK), 6) if is_v6 => (Field::Protocol, 6),
            (Some(NETWORK), 24..40) if is_v6 => (Field::V6, 24),
            _ => return None,
        };
        Some((field, (at - start) as usize))
    };
    registers.forget(to);
    registers.load(to, (offset..offset.saturating_add(length)).map(field));
    Expression::Done
}

/// `NFTA_META_DREG`, `_KEY`. A meta expression without a destination writes to the packet.
fn meta<'a>(data: &'a [u8], registers: &mut Registers) -> Expression<'a> {
    let Some(to) = register(data, 1) else { return Expression::Done };
    registers.forget(to);
    let field = match number(data, 2) {
        Some(1) => Field::EtherType,
        Some(15) => Field::Family,
        Some(16) => Field::Protocol,
        _ => return Expression::Done,
    };
    registers.load(to, (0..field.width()).map(|place| Some((field, place))));
    Expression::Done
}

/// `NFTA_BITWISE_SREG`, `_DREG`, `_MASK`, `_XOR`, `_OP`; only an operation with a mask keeps
/// bits of a field.
fn bitwise<'a>(data: &'a [u8], registers: &mut Registers) -> Expression<'a> {
    let Some(to) = register(data, 2) else {
        registers.forget_all();
        return Expression::Done;
    };
    let is_mask = number(data, 6).unwrap_or_default() == 0
        && value(data, 5).is_some_and(|xor| xor.iter().all(|byte| *byte == 0));
    match (register(data, 1), value(data, 4)) {
        (Some(from), Some(mask)) if is_mask => registers.mask(from, to, mask),
        _ => registers.forget(to),
    }
    Expression::Done
}

/// `NFTA_CMP_SREG`, `_OP`, `_DATA`.
fn compare<'a>(data: &'a [u8], registers: &Registers) -> Option<Expression<'a>> {
    let (at, value) = (register(data, 1)?, value(data, 3)?);
    let (least, most) = (vec![0; value.len()], vec![u8::MAX; value.len()]);
    let equal = registers.between(at, value, value);
    let up_to = registers.between(at, &least, value);
    let from = registers.between(at, value, &most);
    Some(match number(data, 2)? {
        0 => Expression::Narrow(equal.constraint, true),
        1 => Expression::Narrow(equal.opposite(), false),
        2 => Expression::Narrow(from.opposite(), true),
        3 if up_to.is_exact => Expression::Narrow(up_to.constraint, true),
        4 => Expression::Narrow(up_to.opposite(), true),
        5 if from.is_exact => Expression::Narrow(from.constraint, true),
        _ => Expression::Done,
    })
}

/// `NFTA_RANGE_SREG`, `_OP`, `_FROM_DATA`, `_TO_DATA`.
fn range<'a>(data: &'a [u8], registers: &Registers) -> Option<Expression<'a>> {
    let (at, low, high) = (register(data, 1)?, value(data, 3)?, value(data, 4)?);
    let within = registers.between(at, low, high);
    Some(match number(data, 2)? {
        _ if !within.is_exact || low.len() != high.len() => Expression::Done,
        0 => Expression::Narrow(within.constraint, true),
        1 => Expression::Narrow(within.opposite(), false),
        _ => Expression::Done,
    })
}

/// `NFTA_LOOKUP_SET`, `_SREG`, `_DREG`, `_FLAGS`.
fn lookup<'a>(data: &'a [u8], registers: &mut Registers) -> Expression<'a> {
    let (Some(set), Some(key)) = (name(data, 1), register(data, 2)) else {
        registers.forget_all();
        return Expression::Done;
    };
    // The key is read before a value replaces it, so the caller must not use it later.
    Expression::Lookup(Lookup { set, key, inverted: number(data, 5).unwrap_or_default() & 1 != 0 })
}

/// Forgets the register that a lookup writes its result to.
pub(super) fn forget_result(bytes: &[u8], registers: &mut Registers) {
    if let Some(to) = attribute(bytes, 2).and_then(|data| register(data, 3)) {
        registers.forget(to);
    }
}

/// `NFTA_IMMEDIATE_DREG`, `_DATA`.
fn immediate<'a>(data: &'a [u8], registers: &mut Registers) -> Expression<'a> {
    if let Some(to) = register(data, 1) {
        registers.forget(to);
        return Expression::Done;
    }
    match attribute(data, 2).and_then(verdict) {
        Some(verdict) => Expression::Verdict(verdict),
        None => Expression::Done,
    }
}

/// Returns the verdict in `NFTA_DATA_VERDICT`.
pub(super) fn verdict(data: &[u8]) -> Option<Verdict<'_>> {
    const CONTINUE: i32 = -1;
    const JUMP: i32 = -3;
    const GOTO: i32 = -4;
    let verdict = attribute(data, 2)?;
    match number(verdict, 1)?.cast_signed() {
        JUMP | GOTO => name(verdict, 2).map(Verdict::Chain),
        CONTINUE => Some(Verdict::Continue),
        _ => Some(Verdict::End),
    }
}

/// Returns which families a translation is for.
pub(super) fn families(family: Option<u8>) -> (bool, bool) {
    match family {
        Some(IPV4) => (true, false),
        Some(IPV6) => (false, true),
        None | Some(INET | _) => (true, true),
    }
}
