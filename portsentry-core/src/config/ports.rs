//! Lists of ports: `1,7,10-20`, or `ALL`.

use super::Excerpt;
use super::diagnostic::Report;
use super::span::Fragment;
use super::{PortList, Problem};
use crate::PortSet;

/// Returns the valid ports of a list. Reports each invalid item.
pub(super) fn read_ports(list: Fragment<'_>, report: &mut Report) -> PortSet {
    let mut ports = PortSet::new();
    for item in list.split(',').map(Fragment::trim) {
        match read_range(item) {
            Ok((first, last)) => ports.insert_range(first..=last),
            Err((fragment, problem)) => report.error(fragment, problem),
        }
    }
    ports
}

/// Returns the ports of a list, or of the word `ALL`. Reports each invalid item.
pub(super) fn read_port_list(list: Fragment<'_>, report: &mut Report) -> PortList {
    const ALL: &str = "ALL";
    let word = list.trim();
    if word.text() == ALL {
        return PortList::All;
    }
    if word.text().eq_ignore_ascii_case(ALL) {
        report.error(word, Problem::AllInCapitals(Excerpt::of(word.text())));
        return PortList::default();
    }
    if let Some(all) = list.split(',').map(Fragment::trim).find(|item| item.text() == ALL) {
        report.error(all, Problem::AllWithOthers);
        return PortList::default();
    }
    PortList::Listed(read_ports(list, report))
}

fn read_range(item: Fragment<'_>) -> Result<(u16, u16), (Fragment<'_>, Problem)> {
    if item.is_empty() {
        return Err((item, Problem::EmptyItem));
    }
    let Some((first, last)) = item.split_once('-') else {
        let port = read_port(item)?;
        return Ok((port, port));
    };
    let (first, last) = (first.trim(), last.trim());
    if first.is_empty() || last.is_empty() {
        return Err((item, Problem::OpenRange(Excerpt::of(item.text()))));
    }
    let (first, last) = (read_port(first)?, read_port(last)?);
    if first > last {
        return Err((item, Problem::BackwardRange { first, last }));
    }
    Ok((first, last))
}

fn read_port(port: Fragment<'_>) -> Result<u16, (Fragment<'_>, Problem)> {
    let text = port.text();
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err((port, Problem::NotAPort(Excerpt::of(text))));
    }
    match text.parse() {
        Ok(0) => Err((port, Problem::PortZero)),
        Ok(number) => Ok(number),
        // Digits can only fail to parse because there are too many.
        Err(_) => Err((port, Problem::PortTooLarge(Excerpt::of(text)))),
    }
}
