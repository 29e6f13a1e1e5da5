//! Addresses and networks, as in ignore files and `NEVER_BLOCK`.

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use super::diagnostic::Report;
use super::span::Fragment;
use super::{Excerpt, Problem};

/// Reads networks that are separated by commas or blanks. Reports each invalid item.
pub(super) fn read_networks(list: Fragment<'_>, report: &mut Report) -> Vec<IpNet> {
    let mut networks = Vec::new();
    if list.trim().is_empty() {
        return networks;
    }
    for item in list.split(',').map(Fragment::trim) {
        if item.is_empty() {
            report.error(item, Problem::EmptyItem);
        }
        networks.extend(item.words().filter_map(|word| read_network(word, report)));
    }
    networks
}

/// Reads a network: an address, or an address with a prefix length or (IPv4) a dotted
/// mask.
///
/// Accepts only the usual forms of an address, because programs read others
/// differently: `010.1` may be 8.0.0.1 (RFC 6943 section 3.1.1). An IPv4-mapped address
/// becomes the IPv4 address. Host bits are cleared with a warning.
pub(super) fn read_network(item: Fragment<'_>, report: &mut Report) -> Option<IpNet> {
    match parse(item) {
        Ok(network) => {
            let trimmed = network.trunc();
            if trimmed != network {
                report.warning(item, Problem::HostBits(trimmed));
            }
            Some(trimmed)
        }
        Err((fragment, problem)) => {
            report.error(fragment, problem);
            None
        }
    }
}

fn parse(item: Fragment<'_>) -> Result<IpNet, (Fragment<'_>, Problem)> {
    let (address, length) = match item.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (item, None),
    };
    let written = parse_address(address.text()).map_err(|problem| (address, problem))?;
    let bits = match (length, written) {
        (None, IpAddr::V4(_)) => 32,
        (None, IpAddr::V6(_)) => 128,
        (Some(length), _) => {
            parse_length(length.text(), written).map_err(|problem| (length, problem))?
        }
    };
    let (address, bits) = match written.to_canonical() {
        // IPv4-mapped: the IPv4 address is the last 32 of the 128 bits.
        canonical if canonical != written => {
            (canonical, bits.checked_sub(96).ok_or((item, Problem::MappedPrefix))?)
        }
        canonical => (canonical, bits),
    };
    // The length was checked against the address above.
    IpNet::new(address, bits).map_err(|_| (item, Problem::NotAnAddress(Excerpt::of(item.text()))))
}

fn parse_address(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| explain(text))
}

/// Returns the reason why `text` is not an address.
fn explain(text: &str) -> Problem {
    let excerpt = Excerpt::of(text);
    if text.contains('%') {
        return Problem::Zone(excerpt);
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        let numbers = || text.split('.');
        return if numbers().any(str::is_empty) || numbers().count() > 4 {
            Problem::NotAnAddress(excerpt)
        } else if numbers().any(|number| number.len() > 1 && number.starts_with('0')) {
            Problem::LeadingZero(excerpt)
        } else if numbers().count() < 4 {
            Problem::ShortAddress(excerpt)
        } else {
            Problem::NotAnAddress(excerpt)
        };
    }
    let may_be_name = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.contains(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if may_be_name && !text.starts_with("0x") {
        return Problem::HostName(excerpt);
    }
    Problem::NotAnAddress(excerpt)
}

/// Reads the prefix length after the slash, at most the length of `address`.
fn parse_length(text: &str, address: IpAddr) -> Result<u8, Problem> {
    if text.contains('.') {
        return match address {
            IpAddr::V4(_) => mask_length(text).ok_or_else(|| Problem::NotAMask(Excerpt::of(text))),
            IpAddr::V6(_) => Err(Problem::MaskOnIpv6),
        };
    }
    let is_decimal = text.bytes().all(|byte| byte.is_ascii_digit());
    if text.is_empty() || !is_decimal || (text.len() > 1 && text.starts_with('0')) {
        return Err(Problem::NotAPrefix(Excerpt::of(text)));
    }
    let max = if address.is_ipv4() { 32 } else { 128 };
    match text.parse() {
        Ok(length) if length <= max => Ok(length),
        _ => Err(Problem::PrefixTooLong { prefix: Excerpt::of(text), max }),
    }
}

/// Returns the number of ones in a dotted mask, if all ones come before the zeros.
fn mask_length(text: &str) -> Option<u8> {
    let mask = u32::from(text.parse::<Ipv4Addr>().ok()?);
    let ones = mask.leading_ones();
    (ones + mask.trailing_zeros() == 32).then(|| u8::try_from(ones).ok()).flatten()
}
