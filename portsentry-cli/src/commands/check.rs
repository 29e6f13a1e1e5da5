//! `portsentry check`: prints what would be watched, and all errors of the configuration.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};

use portsentry_capture::{IndispensableHosts, Interface, missing_capture_features, translations};
use portsentry_config::{Configuration, LocalPortSource, Origin, Overrides};
use portsentry_core::Protocol;
use portsentry_core::config::{KEYS, PortList, Settings};
use portsentry_report::{Action, Importance};
use portsentry_respond::{Actions, missing_response_features, translation_doubts};

use super::protected_hosts;
use crate::arguments::CheckOptions;
use crate::configuration::{configuration, show_warnings, working_directory};
use crate::failure::Failure;
use crate::runtime::sandbox;

pub(crate) fn check(options: &CheckOptions) -> Result<(), Failure> {
    let overrides = Overrides::default().with_local_ports(LocalPortSource::Kernel);
    let configuration = configuration(&options.general, overrides, &working_directory()?)?;
    show_warnings(&configuration);
    let settings = &configuration.settings;
    let text = match options.show.as_slice() {
        [] if options.general.importance() > Importance::Notice => {
            format!("{}\nAs a file:\n{settings}", describe(&configuration)?)
        }
        [] => describe(&configuration)?,
        names => values(settings, names),
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::Output)
}

/// Returns the values of these keys, one per line.
fn values(settings: &Settings, names: &[String]) -> String {
    let value = |name: &String| {
        let key = KEYS.iter().find(|key| key.name == name)?;
        key.value(settings)
    };
    names.iter().map(|name| value(name).unwrap_or_default() + "\n").collect()
}

/// Returns a short description for the administrator.
fn describe(configuration: &Configuration) -> Result<String, Failure> {
    let settings = &configuration.settings;
    let cannot_list = "cannot list network interfaces and routes";
    let hosts = IndispensableHosts::open().map_err(Failure::system(cannot_list))?;
    let interfaces = Interface::all().map_err(Failure::system(cannot_list))?;
    let mut text = String::new();
    let mut line = |label: &str, value: &dyn fmt::Display| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{label:<15}{value}");
    };
    match &configuration.origin {
        Origin::File(path) => line("configuration", &format_args!("{} is valid", path.display())),
        Origin::BuiltIn { missing, .. } => {
            line(
                "configuration",
                &format_args!("built in, because {} does not exist", missing.display()),
            );
        }
        _ => {}
    }
    line("TCP ports", &ports(configuration, Protocol::Tcp));
    line("UDP ports", &ports(configuration, Protocol::Udp));
    match &settings.ignore_file {
        Some(path) => {
            let ranges = configuration.ignore.len();
            line("ignored", &format_args!("{ranges} address ranges, from {path}"));
        }
        None => line("ignored", &"nobody"),
    }
    match settings.scan_trigger {
        0 | 1 => line("trigger", &"the first probe of a host"),
        probes => line("trigger", &format_args!("probe number {probes} of a host")),
    }
    line("TCP response", &response(settings, Protocol::Tcp));
    line("UDP response", &response(settings, Protocol::Udp));
    for (label, text) in protected_hosts::describe(configuration, &hosts, &interfaces) {
        line(label, &text);
    }
    for text in translated(configuration) {
        line("translated", &text);
    }
    line("history", &or_else(settings.history_file.as_deref().unwrap_or_default(), "none"));
    line("blocked file", &or_else(settings.blocked_file.as_deref().unwrap_or_default(), "none"));
    let user = sandbox::user(settings)?;
    for (label, text) in sandbox::describe(settings, user.as_ref()) {
        line(label, &text);
    }
    let missing = [missing_response_features(), missing_capture_features()].concat();
    for feature in &missing {
        line("kernel", feature);
    }
    if missing.is_empty() {
        line("kernel", &"has every feature that portsentry uses");
    }
    Ok(text)
}

/// Entries of forwarded ports that are listed, at most.
const LISTED: usize = 50;

/// Returns the ports that need no socket, and reasons for which some of them are not known.
fn translated(configuration: &Configuration) -> Vec<String> {
    if !configuration.service_check {
        return Vec::new();
    }
    let found = translations();
    let mut lines = translation_doubts(&found);
    if let Ok(mut found) = found {
        // A node of Kubernetes has thousands of entries for single addresses, of other hosts.
        found.ports.sort_by_key(|ports| ports.destinations.prefix_len());
        let listed = found.ports.iter().take(LISTED).map(ToString::to_string);
        let mut text = or_else(&listed.collect::<Vec<_>>().join(", "), "no ports");
        if let Some(more @ 1..) = found.ports.len().checked_sub(LISTED) {
            text += &format!(", and {more} more");
        }
        lines.insert(0, text);
    }
    lines
}

fn or_else(text: &str, nothing: &str) -> String {
    if text.is_empty() { nothing.to_owned() } else { text.to_owned() }
}

fn ports(configuration: &Configuration, protocol: Protocol) -> String {
    let list = match protocol {
        Protocol::Tcp => &configuration.settings.tcp_ports,
        Protocol::Udp => &configuration.settings.udp_ports,
    };
    match (configuration.ports(protocol).len(), list) {
        (0, _) => "none".to_owned(),
        (number, PortList::All) => format!(
            "ALL ({number} ports: all except {}, which outgoing connections use)",
            configuration.local_ports
        ),
        (1, _) => format!("{list} (1 port)"),
        (number, _) => format!("{list} ({number} ports)"),
    }
}

/// Returns the keys of the actions that a probe triggers, in order.
fn response(settings: &Settings, protocol: Protocol) -> String {
    let actions = Actions::new(settings, None);
    let keys: Vec<&str> = actions.in_order(protocol).map(Action::key).collect();
    match keys.as_slice() {
        [] => "none, log only".to_owned(),
        keys => format!(
            "{}, at most {} s each",
            keys.join(", then "),
            settings.response_timeout.as_secs()
        ),
    }
}
