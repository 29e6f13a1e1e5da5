//! Matches on public enums. The last arm is for later variants. Matches on enums of the core
//! that grow list all variants, so that it is an error (unreachable pattern) if one of them
//! is no longer `#[non_exhaustive]`.

use portsentry_capture::{Drained, LinkType, Rejected, SensorError};
use portsentry_config::{FileError, LoadError};
use portsentry_core::config::Problem;
use portsentry_core::{
    Decision, Effect, Event, Evidence, IpOptions, Mode, Outcome, Protocol, Reason, ScanKind,
};

pub fn decision(decision: Decision) -> &'static str {
    match decision {
        Decision::Drop => "drop",
        Decision::Report => "report",
        Decision::Respond => "respond",
        Decision::Wait => "wait",
        _ => "later",
    }
}

pub fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::NotOpener => "not an opener",
        Reason::NotMonitored => "not monitored",
        Reason::Served => "served",
        Reason::IgnoreList => "ignore list",
        Reason::BelowTrigger => "below trigger",
        Reason::SameAddress => "same address",
        Reason::LogOnly => "log only",
        Reason::NeverBlock => "never block",
        Reason::AlreadyBlocked => "already blocked",
        Reason::Responding => "responding",
        Reason::RetryLater => "retry later",
        Reason::RateLimited => "rate limited",
        Reason::Overloaded => "overloaded",
        Reason::Triggered => "triggered",
        Reason::Blocked => "blocked",
        Reason::ResponseFailed => "response failed",
        _ => "later",
    }
}

pub fn event(event: &Event) -> &'static str {
    match event {
        Event::Probe(_) => "probe",
        Event::ServedPort { source: _, port: _, .. } => "served port",
        Event::ServedPortSuppressed { packets: _, .. } => "served port suppressed",
        Event::RateLimited { probes: _, limit: _, .. } => "rate limited",
        Event::Overloaded { probes: _, .. } => "overloaded",
        _ => "later",
    }
}

pub fn effect(effect: &Effect) -> &'static str {
    match effect {
        Effect::Respond(_) => "respond",
        _ => "later",
    }
}

pub fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded => "succeeded",
        Outcome::Partial => "partial",
        Outcome::Failed => "failed",
        _ => "later",
    }
}

pub fn kind(kind: ScanKind) -> &'static str {
    match kind {
        ScanKind::Connect => "connect",
        ScanKind::Udp => "udp",
        ScanKind::Null => "null",
        ScanKind::Xmas => "xmas",
        ScanKind::Fin => "fin",
        ScanKind::Syn => "syn",
        ScanKind::Other(_) => "other",
        _ => "later",
    }
}

pub fn evidence(evidence: &Evidence) -> &'static str {
    match evidence {
        Evidence::Segment(_) => "segment",
        Evidence::Datagram => "datagram",
        Evidence::Connection => "connection",
        Evidence::Message => "message",
        _ => "later",
    }
}

pub fn fixed(protocol: Protocol, mode: Mode, options: IpOptions) -> &'static str {
    match (protocol, mode, options) {
        (Protocol::Tcp, Mode::Stealth, IpOptions::Present) => "a segment with options",
        _ => "any other",
    }
}

pub fn drained(drained: Drained) -> &'static str {
    match drained {
        Drained::End => "end",
        _ => "continue",
    }
}

pub fn link(link: LinkType) -> &'static str {
    match link {
        LinkType::Ethernet => "ethernet",
        LinkType::RawIp | LinkType::BsdLoopback => "no addresses",
        LinkType::LinuxSll | LinkType::LinuxSll2 => "cooked",
        _ => "any other",
    }
}

pub fn rejected(rejected: Rejected) -> &'static str {
    match rejected {
        Rejected::Truncated => "truncated",
        _ => "any other",
    }
}

pub fn sensor_error(error: &SensorError) -> &'static str {
    match error {
        SensorError::NotACapture { name: _, .. } => "not a capture file",
        _ => "any other",
    }
}

pub fn load_error(error: &LoadError) -> &'static str {
    match error {
        LoadError::Unreadable(FileError::Missing(_)) => "missing",
        LoadError::Invalid(_) => "invalid",
        _ => "any other",
    }
}

pub fn problem(problem: &Problem) -> &'static str {
    match problem {
        Problem::Utf16 => "UTF-16",
        _ => "any other",
    }
}
