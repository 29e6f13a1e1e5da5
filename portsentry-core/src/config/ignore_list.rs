//! The ignore file: one address or network per line.

use super::diagnostic::Report;
use super::encoding::{is_text, is_utf16};
use super::network::read_network;
use super::span::{BLANKS, Line, lines};
use super::{Parsed, Problem, Span};
use crate::NetworkSet;

use alloc::vec::Vec;

use ipnet::IpNet;

/// Reads an ignore file: one IPv4 or IPv6 address or network per line, comments from
/// `#` to the end of the line.
///
/// O(n log n) in the size of the file. At most 1000 errors and 1000 warnings are kept;
/// a last finding gives the number of the others.
pub fn parse_ignore_list(file: &[u8]) -> Parsed<NetworkSet> {
    let mut report = Report::default();
    let mut networks = Vec::new();
    if is_utf16(file) {
        report.error_at(Span::start_of(1), Problem::Utf16);
    } else {
        networks.extend(lines(file).filter_map(|line| read_line(&line, &mut report)));
    }
    Parsed::new(networks.into_iter().collect(), report)
}

fn read_line(line: &Line<'_>, report: &mut Report) -> Option<IpNet> {
    if !is_text(line, report) {
        return None;
    }
    let (content, _comment) = line.fragment().split_before(|c| c == '#');
    let (item, rest) = content.trim().split_before(|c| c == ',' || BLANKS.contains(&c));
    let rest = rest.trim();
    if item.is_empty() && rest.is_empty() {
        return None;
    }
    let network = read_network(item, report)?;
    if !rest.is_empty() {
        report.error(rest, Problem::SeveralOnOneLine);
        return None;
    }
    Some(network)
}
