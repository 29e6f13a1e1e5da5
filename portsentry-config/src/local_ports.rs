//! The meaning of the word `ALL` on this host.

use std::path::Path;

use portsentry_core::config::{LocalPorts, Parsed, PortList, Settings, Severity};

use crate::{Cause, FileError, LOCAL_PORT_RANGE, LocalPortSource};

/// Returns the ports of outgoing connections, and what there is to report about the word `ALL`, at
/// the value of a key. Reads [`LOCAL_PORT_RANGE`] only if `source` asks for it and a value is `ALL`.
pub(crate) fn local_ports(
    source: LocalPortSource,
    parsed: &Parsed<Settings>,
    read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>,
) -> (LocalPorts, Option<(&'static str, Severity, Cause)>) {
    let Settings { tcp_ports, udp_ports, .. } = &parsed.value;
    let keys = [("TCP_PORTS", tcp_ports), ("UDP_PORTS", udp_ports)];
    let with_all = keys.iter().find(|(_, ports)| **ports == PortList::All).map(|(key, _)| *key);
    let (known, key) = match (source, with_all) {
        (LocalPortSource::Given(ports), None) => return (ports, None),
        (LocalPortSource::Kernel, None) => return (LocalPorts::default(), None),
        (LocalPortSource::Given(ports), Some(key)) => (Some(ports), key),
        (LocalPortSource::Kernel, Some(key)) => {
            let text = read(Path::new(LOCAL_PORT_RANGE)).ok();
            let range = text.as_deref().and_then(|text| std::str::from_utf8(text).ok());
            (range.and_then(LocalPorts::parse), key)
        }
    };
    let ports = known.unwrap_or_default();
    let finding = if PortList::All.ports(ports).is_empty() {
        Some((key, Severity::Error, Cause::NoPortLeft(ports)))
    } else if known.is_none() {
        Some((key, Severity::Warning, Cause::LocalPortsUnknown(ports)))
    } else {
        None
    };
    (ports, finding)
}
