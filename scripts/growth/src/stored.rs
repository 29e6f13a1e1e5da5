//! Events that another process stored as JSON.

use std::net::IpAddr;

use portsentry_core::Event;

/// Reads an event that a program with the version of this tree wrote.
///
/// # Errors
///
/// When the text is not an event.
pub fn read(text: &str) -> serde_json::Result<Event> {
    serde_json::from_str(text)
}

/// The source of a probe.
pub fn source(event: &Event) -> Option<IpAddr> {
    match event {
        Event::Probe(probe) => Some(probe.observation.source),
        _ => None,
    }
}
