//! The text of events, as it goes to the log and to the history.

use std::io::Write;

use portsentry_core::{Event, EventLine, Importance, PreludeLine};

use super::Stamper;

/// Which lines are wanted, and what some of them name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineOptions {
    /// The least important lines that are wanted.
    pub importance: Importance,
    /// The ignore file, as the configuration names it.
    pub ignore_file: String,
}

impl Default for LineOptions {
    fn default() -> Self {
        Self { importance: Importance::Notice, ignore_file: String::new() }
    }
}

impl LineOptions {
    /// Appends the lines of `event` to `log`, each with its line end, and the
    /// line of a probe with its time to `history`. `name` is the source's name
    /// if it was looked up. Gives the number of lines in `log`.
    pub fn append(
        &self,
        event: &Event,
        name: Option<&str>,
        log: &mut Vec<u8>,
        history: Option<(&mut Vec<u8>, &mut Stamper)>,
    ) -> u64 {
        let mut lines = 1;
        if let Event::Probe(probe) = event {
            let prelude = PreludeLine::of(probe, name, &self.ignore_file);
            if let Some((importance, prelude)) = prelude.filter(|(i, _)| *i <= self.importance) {
                let prefix = if importance == Importance::Debug { DEBUG_PREFIX } else { "" };
                append_line(log, format_args!("{prefix}{prelude}"));
                lines += 1;
            }
        }
        let start = log.len();
        let line = EventLine::new(event);
        append_line(log, format_args!("{}", name.map_or(line, |name| line.with_name(name))));
        if let (Event::Probe(probe), Some((history, stamper))) = (event, history) {
            stamper.append(probe.observation.time, history);
            history.push(b' ');
            history.extend_from_slice(&log[start..]);
        }
        lines
    }
}

/// What debug lines begin with.
pub(crate) const DEBUG_PREFIX: &str = "debug: ";

fn append_line(log: &mut Vec<u8>, line: std::fmt::Arguments<'_>) {
    // Writing to a vector does not fail, and the lines' own formatting does not either.
    let _ = writeln!(log, "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::tz::TimeZone;
    use portsentry_core::{
        Evidence, IpOptions, Observation, Probe, Reason, TcpFlags, TcpSegment, Timestamp,
    };

    fn event(reason: Reason) -> Event {
        let observation = Observation {
            time: Timestamp::from_seconds_micros(0, 1_000),
            interface: 1,
            source: "192.0.2.7".parse().unwrap(),
            target: "198.51.100.1".parse().unwrap(),
            source_port: 40_000,
            target_port: 23,
            evidence: Evidence::Segment(TcpSegment {
                flags: TcpFlags::SYN,
                ..TcpSegment::default()
            }),
            ip_options: IpOptions::Absent,
            ttl: 64,
            ip_id: 1,
        };
        Event::Probe(Probe { observation, reason })
    }

    /// The log at `importance`, and the history, of one event.
    fn lines(importance: Importance, reason: Reason, name: Option<&str>) -> (String, String) {
        let options = LineOptions { importance, ignore_file: "/etc/ignore".to_owned() };
        let (mut log, mut history) = (Vec::new(), Vec::new());
        let mut stamper = Stamper::in_zone(TimeZone::UTC);
        options.append(&event(reason), name, &mut log, Some((&mut history, &mut stamper)));
        (String::from_utf8(log).unwrap(), String::from_utf8(history).unwrap())
    }

    #[test]
    fn the_history_has_the_line_of_the_probe_behind_its_time() {
        let (log, history) = lines(Importance::Debug, Reason::AlreadyBlocked, Some("a.example"));
        let line = "Scan from: [192.0.2.7] (a.example) protocol: [TCP] port: [23] \
                    type: [TCP SYN/Normal scan] IP opts: [not set] \
                    ignored: [false] triggered: [true] noblock: [false] blocked: [true]\n";
        let prelude = "attackalert: Host: a.example/192.0.2.7 is already blocked Ignoring\n";
        assert_eq!(log, format!("{prelude}{line}"));
        assert_eq!(history, format!("1970-01-01T00:00:00.001+0000 {line}"));
    }

    #[test]
    fn lines_of_little_importance_are_left_out_unless_wanted() {
        let first = |importance, reason| {
            lines(importance, reason, None).0.lines().next().map(str::to_owned).unwrap()
        };
        let ignored = "Host: 192.0.2.7 found in ignore file /etc/ignore, aborting actions";
        assert_eq!(first(Importance::Debug, Reason::IgnoreList), ignored);
        assert_eq!(first(Importance::Verbose, Reason::IgnoreList), ignored);
        assert!(first(Importance::Notice, Reason::IgnoreList).starts_with("Scan from"));
        assert_eq!(
            first(Importance::Debug, Reason::SameAddress),
            "debug: Source address 192.0.2.7 same as destination address 198.51.100.1, skipping"
        );
        assert!(first(Importance::Verbose, Reason::SameAddress).starts_with("Scan from"));
    }
}
