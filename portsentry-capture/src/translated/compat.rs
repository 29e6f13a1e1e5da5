//! Matches and targets of iptables in rules of nf_tables.
//!
//! `iptables-nft` writes them as expressions that contain the structure of the extension, in the
//! byte order of the machine (`linux/netfilter/xt_tcpudp.h`, `xt_multiport.h`).

use super::attributes::{attribute, name, number};
use super::class::{Constraint, Field};
use super::ranges::Ranges;

/// Returns whether a target of this name translates the destination in the chain `PREROUTING`.
pub(super) fn translates(target: &[u8]) -> bool {
    matches!(target, b"DNAT" | b"REDIRECT" | b"NETMAP" | b"TPROXY")
}

/// Returns the constraint of the data of a match, and whether it names values; see
/// [`Class::narrow`](super::class::Class::narrow). `None` if it is about other fields.
pub(super) fn constraint(data: &[u8]) -> Option<(Constraint, bool)> {
    let (name, info) = (name(data, 1)?, attribute(data, 3)?);
    let revision = number(data, 2).unwrap_or_default();
    let (ports, inverted) = match name {
        b"tcp" => ports_of(info, 11, 0x02)?,
        b"udp" => ports_of(info, 8, 0x02)?,
        b"multiport" => multiport(info, revision)?,
        _ => return None,
    };
    let ports = if inverted { ports.complement(Field::Port.greatest()) } else { ports };
    Some(([(Field::Port, ports)].into(), !inverted))
}

fn port(info: &[u8], at: usize) -> Option<u128> {
    let bytes = info.get(at..)?.first_chunk::<2>()?;
    Some(u16::from_ne_bytes(*bytes).into())
}

/// `struct xt_tcp` or `struct xt_udp`: the ranges of source and destination ports, and at
/// `flags` the bits of inverted conditions. A range of all ports names none.
fn ports_of(info: &[u8], flags: usize, inverts: u8) -> Option<(Ranges, bool)> {
    let (first, last) = (port(info, 4)?, port(info, 6)?);
    let inverted = info.get(flags)? & inverts != 0;
    let is_constraint = inverted || (first, last) != (0, Field::Port.greatest());
    is_constraint.then(|| (Ranges::of(first, last), inverted))
}

/// `struct xt_multiport` (revision 0) or `struct xt_multiport_v1`.
fn multiport(info: &[u8], revision: u32) -> Option<(Ranges, bool)> {
    const SOURCE: u8 = 0;
    const PORTS: usize = 15;
    let (kind, count) = (*info.first()?, usize::from(*info.get(1)?).min(PORTS));
    // A condition on either port also holds for the destination ports that it names.
    if kind == SOURCE {
        return None;
    }
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < count {
        let first = port(info, 2 + 2 * at)?;
        // With `pflags`, the next number is the end of a range.
        let is_range = revision == 1 && *info.get(2 + 2 * PORTS + at)? != 0;
        at += usize::from(is_range);
        ranges.push((first, port(info, 2 + 2 * at)?));
        at += 1;
    }
    let inverted = revision == 1 && *info.get(2 + 3 * PORTS)? != 0;
    Some((ranges.into_iter().collect(), inverted))
}

#[cfg(test)]
mod tests {
    use super::super::attributes::{encode, encode_name};
    use super::*;

    fn check(name: &str, revision: u32, info: &[u8], expected: Option<(&[(u128, u128)], bool)>) {
        let data =
            [encode_name(1, name.as_bytes()), encode(2, &revision.to_be_bytes()), encode(3, info)];
        let expected = expected.map(|(ports, names)| {
            let ports: Ranges = ports.iter().copied().collect();
            (Constraint::from([(Field::Port, ports)]), names)
        });
        assert_eq!(constraint(&data.concat()), expected, "{name} {info:?}");
        for length in 0..info.len() {
            let data = [encode_name(1, name.as_bytes()), encode(3, &info[..length])];
            // Truncated structures constrain something else, or nothing.
            let _ = constraint(&data.concat());
        }
    }

    fn ports(numbers: &[u16]) -> Vec<u8> {
        numbers.iter().flat_map(|number| number.to_ne_bytes()).collect()
    }

    #[test]
    fn structures_are_read_as_the_kernel_defines_them() {
        let tcp = |ends: [u16; 4], inverted: u8| {
            [&ports(&ends)[..], &[0, 0, 0, inverted], &[0; 4]].concat()
        };
        check("tcp", 0, &tcp([0, 65535, 80, 90], 0), Some((&[(80, 90)], true)));
        check("tcp", 0, &tcp([80, 90, 0, 65535], 0), None);
        check("tcp", 0, &tcp([80, 90, 0, 65535], 1), None);
        check("tcp", 0, &tcp([0, 65535, 22, 22], 2), Some((&[(0, 21), (23, 65535)], false)));
        let udp = |ends: [u16; 4], inverted: u8| [&ports(&ends)[..], &[inverted, 0]].concat();
        check("udp", 0, &udp([0, 65535, 53, 53], 0), Some((&[(53, 53)], true)));
        check("udp", 0, &udp([0, 65535, 53, 53], 2), Some((&[(0, 52), (54, 65535)], false)));

        let multiport = |kind: u8, numbers: &[u16], ranges: &[u8], inverted: u8| {
            let mut info = vec![kind, numbers.len() as u8];
            info.extend(ports(numbers));
            info.resize(32, 0);
            info.extend_from_slice(ranges);
            info.resize(47, 0);
            [&info[..], &[inverted]].concat()
        };
        let destination = multiport(1, &[1, 5, 9, 7], &[0, 1], 0);
        check("multiport", 1, &destination, Some((&[(1, 1), (5, 9), (7, 7)], true)));
        let either = multiport(2, &[1], &[], 0);
        check("multiport", 1, &either, Some((&[(1, 1)], true)));
        check("multiport", 1, &multiport(0, &[1], &[], 0), None);
        let inverted = multiport(1, &[22], &[], 1);
        check("multiport", 1, &inverted, Some((&[(0, 21), (23, 65535)], false)));
        check("multiport", 0, &destination[..32], Some((&[(1, 1), (5, 5), (7, 7), (9, 9)], true)));
        check("addrtype", 1, &[0; 16], None);
    }
}
