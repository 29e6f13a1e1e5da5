//! The contract lines, written a second time: no part of them comes from the program's own
//! code.

use std::net::IpAddr;

/// Protocol and type of a probe, as in its line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    pub(crate) protocol: &'static str,
    pub(crate) name: &'static str,
}

pub(crate) const SYN: Kind = Kind { protocol: "TCP", name: "TCP SYN/Normal scan" };
pub(crate) const NULL: Kind = Kind { protocol: "TCP", name: "TCP NULL scan" };
pub(crate) const FIN: Kind = Kind { protocol: "TCP", name: "TCP FIN scan" };
pub(crate) const XMAS: Kind = Kind { protocol: "TCP", name: "TCP XMAS scan" };
pub(crate) const UDP: Kind = Kind { protocol: "UDP", name: "UDP" };

/// Returns the kind of a TCP probe that has no named type, by the four flags that it
/// can have.
macro_rules! unknown_kind {
    (SYN: $syn:literal, FIN: $fin:literal, PSH: $psh:literal, URG: $urg:literal) => {
        $crate::expected::Kind {
            protocol: "TCP",
            name: concat!(
                "Unknown Type: TCP Packet Flags: ",
                concat!("SYN: ", $syn, " FIN: ", $fin, " ACK: 0 "),
                concat!("PSH: ", $psh, " URG: ", $urg, " RST: 0"),
            ),
        }
    };
}
pub(crate) use unknown_kind;

/// The end of the line of a probe, by the decision.
pub(crate) const LOGGED: &str =
    "ignored: [false] triggered: [true] noblock: [true] blocked: [false]";
pub(crate) const IGNORED: &str =
    "ignored: [true] triggered: [unset] noblock: [unset] blocked: [unset]";
pub(crate) const BELOW_TRIGGER: &str =
    "ignored: [false] triggered: [false] noblock: [unset] blocked: [unset]";
pub(crate) const LOCAL: &str = "ignored: [true] triggered: [true] noblock: [true] blocked: [false]";
pub(crate) const BLOCKED: &str =
    "ignored: [false] triggered: [true] noblock: [false] blocked: [true]";
pub(crate) const FAILED: &str =
    "ignored: [false] triggered: [true] noblock: [false] blocked: [false]";

/// Returns the line of a probe whose packet has no IP options. `end` is one of the
/// constants above.
pub(crate) fn event(source: IpAddr, kind: Kind, port: u16, end: &str) -> String {
    named_event(source, &source.to_string(), kind, port, end)
}

/// Returns the same line with the name of the source.
pub(crate) fn named_event(source: IpAddr, name: &str, kind: Kind, port: u16, end: &str) -> String {
    let Kind { protocol, name: scan } = kind;
    let options = if source.is_ipv4() { "not set" } else { "unknown" };
    format!(
        "Scan from: [{source}] ({name}) protocol: [{protocol}] port: [{port}] \
         type: [{scan}] IP opts: [{options}] {end}"
    )
}

/// Returns the line of a probe whose packet has IP options.
pub(crate) fn event_with_options(source: IpAddr, kind: Kind, port: u16, end: &str) -> String {
    event(source, kind, port, end).replace("IP opts: [not set]", "IP opts: [set]")
}

pub(crate) fn already_blocked(host: IpAddr) -> String {
    format!("attackalert: Host: {host}/{host} is already blocked Ignoring")
}

pub(crate) fn route_dropped(host: IpAddr, command: &str) -> String {
    format!(
        "attackalert: Host {host} has been blocked via dropped route using command: \"{command}\""
    )
}

/// Returns the line about a response in which the action of `key` failed.
pub(crate) fn blocked_in_part(host: IpAddr, key: &str) -> String {
    format!(
        "Host {host} is blocked only in part; with further probes of it, portsentry tries again: {key}"
    )
}

pub(crate) fn denied(host: IpAddr, text: &str) -> String {
    format!("attackalert: Host {host} has been blocked via wrappers with string: \"{text}\"")
}

pub(crate) fn command_run(host: IpAddr, command: &str) -> String {
    format!("attackalert: External command run for host: {host} using command: \"{command}\"")
}

pub(crate) fn nothing_worked(host: IpAddr) -> String {
    format!("attackalert: Error during target dispose {host}/{host}!")
}

pub(crate) fn served(source: IpAddr, port: u16) -> String {
    format!("Ignoring packet from {source} to destination port {port}, a service is running")
}
