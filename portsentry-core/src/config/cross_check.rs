//! Keys against keys: what no line alone can show.

use super::assignments::Assignments;
use super::diagnostic::Report;
use super::{BlockMode, Problem, Settings, Span};

/// Reports what the keys lack of each other: at the value that asks for it, or
/// at `end`, the last line, when nothing asks.
pub(super) fn cross_check(
    settings: &Settings,
    assignments: &Assignments,
    end: Span,
    report: &mut Report,
) {
    let is_invalid = |name| assignments.is_invalid(name);
    let has_ports = !settings.tcp_ports.is_empty() || !settings.udp_ports.is_empty();
    if !has_ports && !is_invalid("TCP_PORTS") && !is_invalid("UDP_PORTS") {
        report.error_at(end, Problem::NoPorts);
    }

    let can_block = settings.kill_route.is_some()
        || settings.kill_hosts_deny.is_some()
        || is_invalid("KILL_ROUTE")
        || is_invalid("KILL_HOSTS_DENY");
    let can_run = settings.kill_run_cmd.is_some() || is_invalid("KILL_RUN_CMD");
    for (key, mode) in [("BLOCK_TCP", settings.block_tcp), ("BLOCK_UDP", settings.block_udp)] {
        let place = assignments.find(key).map_or(end, |assignment| assignment.value);
        match mode {
            BlockMode::Block if !can_block => report.error_at(place, Problem::NoWayToBlock { key }),
            BlockMode::Command if !can_run => report.error_at(place, Problem::NoCommand { key }),
            _ => {}
        }
    }
}
