//! Events as text, for comparisons in tests.

use std::format;
use std::string::{String, ToString};

use crate::{Event, Probe};

/// Returns the line of `event` in the form of the log.
pub(super) fn of(event: &Event) -> String {
    match event {
        Event::Probe(probe) => of_probe(probe),
        Event::ServedPort { source, port, .. } => {
            format!(
                "Ignoring packet from {source} to destination port {port}, a service is running"
            )
        }
        Event::ServedPortSuppressed { packets } => format!(
            "Suppressed {packets} lines about packets to ports with a running service in the last 60 seconds"
        ),
        Event::RateLimited { probes, limit } => format!(
            "Did not respond to {probes} probes: more than {limit} responses per minute (BLOCK_RATE)"
        ),
        Event::Overloaded { probes } => {
            format!("Did not respond to {probes} probes: too many responses in progress")
        }
    }
}

fn of_probe(probe: &Probe) -> String {
    let Probe { observation, reason } = probe;
    let (source, flags) = (observation.source, reason.flags());
    let text = |flag: Option<bool>| flag.map_or("unset".into(), |flag| flag.to_string());
    format!(
        "Scan from: [{source}] ({source}) protocol: [{}] port: [{}] type: [{}] IP opts: [{}] \
         ignored: [{}] triggered: [{}] noblock: [{}] blocked: [{}]",
        observation.protocol(),
        observation.target_port,
        observation.kind(),
        observation.ip_options,
        text(flags.ignored),
        text(flags.triggered),
        text(flags.noblock),
        text(flags.blocked),
    )
}
