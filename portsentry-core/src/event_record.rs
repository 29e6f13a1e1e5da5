//! Events as JSON records for other programs.

use core::net::IpAddr;

use serde::{Serialize, Serializer};

use crate::{
    Event, Evidence, IpOptions, Mode, Probe, Protocol, Reason, ScanKind, TcpFlags, Timestamp,
};

/// Version of the schema. It increases only with an incompatible change.
const SCHEMA: u32 = 1;

/// An event in a form that other programs can store and compare: flat names, times as
/// RFC 3339 text, and no keys for unknown values.
///
/// The serde form of [`Event`] is its exact value. Its reader rejects unknown variants, so
/// it must not be older than its writer. A record has a `schema`. Later versions may add keys,
/// and a reader can skip an unknown `event_type`.
///
/// ```
/// use portsentry_core::{Event, EventRecord, Observation, Reason, TcpFlags};
///
/// let (source, target) = ("192.0.2.7:40000", "198.51.100.1:23");
/// let probe =
///     Observation::segment(source.parse().unwrap(), target.parse().unwrap(), TcpFlags::SYN);
/// let event = Event::probe(probe, Reason::LogOnly);
/// let record = EventRecord::new(&event).with_interface("eth0");
/// let json = serde_json::to_value(record).unwrap();
/// assert_eq!(json["event_type"], "probe");
/// assert_eq!(json["probe"]["kind"], "syn");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EventRecord<'a> {
    event: &'a Event,
    time: Option<Timestamp>,
    interface: Option<&'a str>,
    name: Option<&'a str>,
    host: Option<&'a str>,
    sequence: Option<u64>,
}

impl<'a> EventRecord<'a> {
    /// Creates the record of `event`. A probe has the time of its packet. Other events have
    /// no time unless [`stamped`](Self::stamped) sets it.
    pub const fn new(event: &'a Event) -> Self {
        Self { event, time: None, interface: None, name: None, host: None, sequence: None }
    }

    /// Sets `timestamp`.
    #[must_use]
    pub const fn stamped(self, time: Timestamp) -> Self {
        Self { time: Some(time), ..self }
    }

    /// Sets `in_iface`, the name of the receiving interface.
    #[must_use]
    pub const fn with_interface(self, name: &'a str) -> Self {
        Self { interface: Some(name), ..self }
    }

    /// Sets `src_name`, the host name of the source.
    #[must_use]
    pub const fn with_name(self, name: &'a str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Sets `host`, the name of this node.
    #[must_use]
    pub const fn with_host(self, host: &'a str) -> Self {
        Self { host: Some(host), ..self }
    }

    /// Sets `seq`, a consecutive number, so that a gap shows a loss.
    #[must_use]
    pub const fn with_sequence(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }
}

impl Serialize for EventRecord<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut record = Record {
            schema: SCHEMA,
            timestamp: self.time.map(Micros),
            engine: "portsentry",
            host: self.host,
            seq: self.sequence,
            in_iface: self.interface,
            src_name: self.name,
            ..Record::default()
        };
        match self.event {
            Event::Probe(probe) => {
                let seen = &probe.observation;
                record.event_type = "probe";
                record.timestamp = record.timestamp.or(Some(Micros(seen.time)));
                (record.src_ip, record.src_port) = (Some(seen.source), Some(seen.source_port));
                (record.dest_ip, record.dest_port) = (Some(seen.target), Some(seen.target_port));
                record.proto = Some(proto(seen.protocol()));
                record.probe = Some(ProbeRecord::new(probe));
            }
            Event::ServedPort { source, target, protocol, port } => {
                record.event_type = "served_port";
                (record.src_ip, record.dest_ip) = (Some(*source), Some(*target));
                record.dest_port = Some(*port);
                record.proto = Some(proto(*protocol));
            }
            Event::ServedPortSuppressed { packets } => {
                record.event_type = "served_port_suppressed";
                record.suppressed = Some(Counts { packets: Some(*packets), ..Counts::default() });
            }
            Event::RateLimited { probes, limit } => {
                record.event_type = "rate_limited";
                let (probes, limit) = (Some(*probes), Some(*limit));
                record.suppressed = Some(Counts { probes, limit, ..Counts::default() });
            }
            Event::Overloaded { probes } => {
                record.event_type = "overloaded";
                record.suppressed = Some(Counts { probes: Some(*probes), ..Counts::default() });
            }
        }
        record.serialize(serializer)
    }
}

/// All keys, in the order of the output.
#[derive(Default, Serialize)]
struct Record<'a> {
    schema: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<Micros>,
    event_type: &'static str,
    engine: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    in_iface: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src_name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_ip: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dest_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeRecord>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressed: Option<Counts>,
}

#[derive(Serialize)]
struct ProbeRecord {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<Letters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_options: Option<bool>,
    mode: &'static str,
    verdict: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ignored: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    triggered: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blocked: Option<bool>,
}

#[derive(Default, Serialize)]
struct Counts {
    #[serde(skip_serializing_if = "Option::is_none")]
    packets: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

impl ProbeRecord {
    fn new(probe: &Probe) -> Self {
        let Probe { observation, reason } = probe;
        let flags = reason.flags();
        Self {
            kind: match observation.kind() {
                ScanKind::Connect => "connect",
                ScanKind::Udp => "udp",
                ScanKind::Null => "null",
                ScanKind::Xmas => "xmas",
                ScanKind::Fin => "fin",
                ScanKind::Syn => "syn",
                ScanKind::Other(_) => "other",
            },
            flags: match observation.evidence {
                Evidence::Segment(segment) => Some(Letters(segment.flags)),
                _ => None,
            },
            ip_options: match observation.ip_options {
                IpOptions::Present => Some(true),
                IpOptions::Absent => Some(false),
                IpOptions::Unknown => None,
            },
            mode: match observation.mode() {
                Mode::Stealth => "stealth",
                Mode::Connect => "connect",
            },
            verdict: verdict(*reason),
            ignored: flags.ignored,
            triggered: flags.triggered,
            blocked: flags.blocked,
        }
    }
}

const fn proto(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
    }
}

/// Returns the name of a reason in records.
const fn verdict(reason: Reason) -> &'static str {
    match reason {
        Reason::IgnoreList => "ignored",
        Reason::BelowTrigger => "counted",
        Reason::SameAddress => "self",
        Reason::AlreadyBlocked => "blocked_already",
        Reason::RateLimited => "rate",
        other => other.name(),
    }
}

/// Writes a time with microseconds.
#[derive(Clone, Copy)]
struct Micros(Timestamp);

impl Serialize for Micros {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:.6}", self.0))
    }
}

/// Writes the first letter of each flag, such as `FPU`.
struct Letters(TcpFlags);

impl Serialize for Letters {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let letters: alloc::string::String =
            self.0.names().filter_map(|name| name.chars().next()).collect();
        serializer.serialize_str(&letters)
    }
}
