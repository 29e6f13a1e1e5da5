//! Checks any bytes as a configuration file or an ignore list.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};
use portsentry_core::config::{self, Context, Diagnostic, Responses, Rings, Severity};
use portsentry_core::{NetworkSet, PortSet};

/// Parses `bytes` as a configuration file.
///
/// # Panics
///
/// Panics if the place of a finding is outside the file, if its message contains a control
/// character, or if valid settings differ after being written and parsed again.
pub fn check_configuration(bytes: &[u8]) {
    let parsed = config::parse(bytes);
    check_findings(bytes, &parsed.diagnostics, parsed.is_valid());
    let one_ring = Context::default().responses(Responses::Embedder).rings(Rings::NeedRaw);
    for context in [one_ring, one_ring.rings(Rings::NotBuilt)] {
        let parsed = config::parse_in(bytes, context);
        check_findings(bytes, &parsed.diagnostics, parsed.is_valid());
    }
    check_sets(&String::from_utf8_lossy(bytes));
    for key in config::KEYS {
        parsed.span_of(key.name).into_iter().for_each(|place| assert_within(bytes, place));
    }
    if parsed.is_valid() {
        let again = config::parse(parsed.value.to_string().as_bytes());
        assert!(again.is_valid(), "{:?}", again.diagnostics);
        assert_eq!(again.value, parsed.value);
    }
}

/// Parses `text` as a set of ports and of networks.
fn check_sets(text: &str) {
    if let Ok(ports) = text.parse::<PortSet>() {
        assert_eq!(ports.to_string().parse(), Ok(ports));
    }
    let _ = text.parse::<NetworkSet>();
}

/// Parses `bytes` as an ignore list.
///
/// # Panics
///
/// Panics if the place of a finding is outside the file, if its message contains a control
/// character, if another parser finds other networks in a valid list, or if the list differs
/// after being written and parsed again.
pub fn check_ignore_list(bytes: &[u8]) {
    let parsed = config::parse_ignore_list(bytes);
    check_findings(bytes, &parsed.diagnostics, parsed.is_valid());
    if parsed.is_valid() {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).split('\n');
        let items = lines.map(|line| line.split('#').next().unwrap_or_default().trim());
        let networks: NetworkSet = items.filter(|item| !item.is_empty()).map(network).collect();
        assert_eq!(parsed.value, networks);

        let again = config::parse_ignore_list(written(&networks).as_bytes());
        assert!(again.diagnostics.is_empty(), "{:?}", again.diagnostics);
        assert_eq!(again.value, networks);
    }
}

/// Returns an ignore list of these networks.
fn written(networks: &NetworkSet) -> String {
    let lines = networks.ranges().flat_map(|range| match range.into_inner() {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            Ipv4Subnets::new(first, last, 0).map(|network| format!("{network}\n")).collect()
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            Ipv6Subnets::new(first, last, 0).map(|network| format!("{network}\n")).collect()
        }
        _ => Vec::new(),
    });
    lines.collect()
}

/// Parses an item with the parsers of the standard library and of ipnet.
fn network(item: &str) -> IpNet {
    let found = match item.split_once('/') {
        None => item.parse().ok().map(IpAddr::into),
        Some((address, mask)) if mask.contains('.') => {
            let (address, mask) = (address.parse().ok(), mask.parse().ok());
            address.zip(mask).and_then(|(address, mask): (Ipv4Addr, Ipv4Addr)| {
                Ipv4Net::with_netmask(address, mask).ok().map(IpNet::V4)
            })
        }
        Some((address, length)) => match (address.parse::<IpAddr>(), length.parse()) {
            (Ok(IpAddr::V4(address)), Ok(length)) => {
                Ipv4Net::new(address, length).ok().map(IpNet::V4)
            }
            (Ok(IpAddr::V6(address)), Ok(length)) => mapped(address, length)
                .or_else(|| Ipv6Net::new(address, length).ok().map(IpNet::V6)),
            _ => None,
        },
    };
    found.unwrap_or_else(|| panic!("accepted, but not a network: {item:?}"))
}

/// Returns the IPv4 network of an IPv4-mapped one.
fn mapped(address: Ipv6Addr, length: u8) -> Option<IpNet> {
    let network = Ipv4Net::new(address.to_ipv4_mapped()?, length.checked_sub(96)?);
    network.ok().map(IpNet::V4)
}

fn check_findings(bytes: &[u8], findings: &[Diagnostic], is_valid: bool) {
    assert_eq!(is_valid, findings.iter().all(|found| found.severity == Severity::Warning));
    let places = findings.iter().map(|found| (found.span.line, found.span.column));
    assert!(places.is_sorted(), "{findings:?}");
    for found in findings {
        assert_within(bytes, found.span);
        let message = found.to_string();
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

/// Asserts that a place is in the text, or directly after a line that lacks something.
#[track_caller]
fn assert_within(bytes: &[u8], place: config::Span) {
    let text = String::from_utf8_lossy(bytes);
    let line = text.split('\n').nth(place.line.wrapping_sub(1));
    let Some(line) = line else { panic!("{place:?} is after the last line") };
    assert!(place.column >= 1 && place.length >= 1, "{place:?}");
    assert!(place.column + place.length <= line.chars().count() + 2, "{place:?} in {line:?}");
}
