//! Checks across keys, and of keys against the program.

use super::assignments::Assignments;
use super::diagnostic::Report;
use super::{BlockMode, Context, PortAccess, PortList, Problem, Responses, Rings, Settings, Span};

/// Reports combinations of values that are not valid: at the value that needs another
/// key, or at `end`, the last line, if no line is the cause.
///
/// A key with an invalid value counts as set, so that one mistake gives one error.
pub(super) fn cross_check(
    settings: &Settings,
    assignments: &Assignments,
    context: Context,
    end: Span,
    report: &mut Report,
) {
    let checks = Checks { settings, assignments, end };
    checks.ports(report);
    if context.ports == PortAccess::Bound {
        checks.bound_ports(report);
    }
    if context.responses == Responses::Configured {
        checks.responses(report);
    }
    checks.rings(context.rings, report);
}

struct Checks<'a> {
    settings: &'a Settings,
    assignments: &'a Assignments,
    end: Span,
}

impl Checks<'_> {
    fn ports(&self, report: &mut Report) {
        let has_ports = !self.settings.tcp_ports.is_empty() || !self.settings.udp_ports.is_empty();
        if !has_ports && !self.is_invalid("TCP_PORTS") && !self.is_invalid("UDP_PORTS") {
            report.error_at(self.end, Problem::NoPorts);
        }
    }

    fn bound_ports(&self, report: &mut Report) {
        let Settings { tcp_ports, udp_ports, .. } = self.settings;
        for (key, ports) in [("TCP_PORTS", tcp_ports), ("UDP_PORTS", udp_ports)] {
            if *ports == PortList::All {
                report.error_at(self.span_of(key), Problem::AllNeedsCapture);
            }
        }
    }

    fn responses(&self, report: &mut Report) {
        let settings = self.settings;
        let can_block = settings.kill_route.is_some()
            || settings.kill_hosts_deny.is_some()
            || self.is_invalid("KILL_ROUTE")
            || self.is_invalid("KILL_HOSTS_DENY");
        let can_run = settings.kill_run_cmd.is_some() || self.is_invalid("KILL_RUN_CMD");
        for (key, mode) in [("BLOCK_TCP", settings.block_tcp), ("BLOCK_UDP", settings.block_udp)] {
            let problem = match mode {
                BlockMode::Block if !can_block => Problem::NoWayToBlock { key },
                BlockMode::Command if !can_run => Problem::NoCommand { key },
                _ => continue,
            };
            report.error_at(self.span_of(key), problem);
        }
    }

    fn rings(&self, support: Rings, report: &mut Report) {
        let rings = self.settings.capture_rings;
        let span = self.span_of("CAPTURE_RINGS");
        match support {
            Rings::NeedRaw if rings > 1 => report.error_at(span, Problem::RingsNeedRaw { rings }),
            Rings::NotBuilt if rings > 1 => {
                report.warning_at(span, Problem::RingsNotBuilt { rings });
            }
            _ => {}
        }
    }

    fn is_invalid(&self, key: &str) -> bool {
        self.assignments.is_invalid(key)
    }

    fn span_of(&self, key: &str) -> Span {
        self.assignments.find(key).map_or(self.end, |assignment| assignment.value)
    }
}
