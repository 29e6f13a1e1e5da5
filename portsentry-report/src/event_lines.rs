//! Formats events as log lines.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write as _};

use portsentry_core::Event;

use crate::level::Level;
use crate::line::{EventLine, Importance, PreludeLine};

/// Selects the lines to format, and holds the text that some of them contain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineOptions {
    /// Importance of the least important lines that are formatted.
    pub importance: Importance,
    /// Path of the ignore file, as written in the configuration.
    pub ignore_file: String,
}

impl Default for LineOptions {
    fn default() -> Self {
        Self { importance: Importance::Notice, ignore_file: String::new() }
    }
}

/// Prefix of debug lines on standard output.
pub const DEBUG_PREFIX: &str = "debug: ";

impl LineOptions {
    /// Formats each line of `event` into `line`, without the line end, and passes it
    /// to `each`. The last line is that of the event itself; afterwards, `line`
    /// contains it. `name` is the host name of the source if it was looked up.
    pub fn format(
        &self,
        event: &Event,
        name: Option<&str>,
        line: &mut Vec<u8>,
        mut each: impl FnMut(Level, &[u8]),
    ) {
        let mut put = |level, text: &dyn fmt::Display| {
            line.clear();
            // Writing to a vector cannot fail.
            let _ = write!(Bytes(line), "{text}");
            each(level, line);
        };
        if let Event::Probe(probe) = event
            && let Some((importance, prelude)) = PreludeLine::of(probe, name, &self.ignore_file)
            && importance <= self.importance
        {
            put(importance.into(), &prelude);
        }
        let own = EventLine::new(event);
        put(Level::Notice, &name.map_or(own, |name| own.with_name(name)));
    }
}

/// Adapts a vector of bytes to [`fmt::Write`].
struct Bytes<'a>(&'a mut Vec<u8>);

impl fmt::Write for Bytes<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::ToOwned;

    use super::*;
    use portsentry_core::{IpOptions, Observation, Reason, TcpFlags, Timestamp};

    fn event(reason: Reason) -> Event {
        let [source, target] = ["192.0.2.7:40000", "198.51.100.1:23"].map(|it| it.parse().unwrap());
        let observation = Observation::segment(source, target, TcpFlags::SYN)
            .stamped(Timestamp::from_seconds_micros(0, 1_000))
            .on(1)
            .with_ip_options(IpOptions::Absent);
        Event::probe(observation, reason)
    }

    /// Returns the lines of one event at `importance`.
    fn lines(importance: Importance, reason: Reason, name: Option<&str>) -> Vec<(Level, String)> {
        let options = LineOptions { importance, ignore_file: "/etc/ignore".to_owned() };
        let mut lines = Vec::new();
        let mut line = Vec::new();
        options.format(&event(reason), name, &mut line, |level, line| {
            lines.push((level, String::from_utf8(line.to_vec()).unwrap()));
        });
        assert_eq!(lines.last().unwrap().1.as_bytes(), line);
        lines
    }

    #[test]
    fn a_blocked_host_has_a_line_before_the_line_of_its_probe() {
        let prelude = "attackalert: Host: a.example/192.0.2.7 is already blocked Ignoring";
        let line = "Scan from: [192.0.2.7] (a.example) protocol: [TCP] port: [23] \
                    type: [TCP SYN/Normal scan] IP opts: [not set] \
                    ignored: [false] triggered: [true] noblock: [false] blocked: [true]";
        assert_eq!(
            lines(Importance::Notice, Reason::AlreadyBlocked, Some("a.example")),
            [(Level::Notice, prelude.to_owned()), (Level::Notice, line.to_owned())]
        );
    }

    #[test]
    fn less_important_lines_are_omitted_by_default() {
        let first = |importance, reason| lines(importance, reason, None).swap_remove(0);
        let ignored = "Host: 192.0.2.7 found in ignore file /etc/ignore, aborting actions";
        let ignored = (Level::Verbose, ignored.to_owned());
        assert_eq!(first(Importance::Debug, Reason::IgnoreList), ignored);
        assert_eq!(first(Importance::Verbose, Reason::IgnoreList), ignored);
        assert!(first(Importance::Notice, Reason::IgnoreList).1.starts_with("Scan from"));
        let own = "Source address 192.0.2.7 same as destination address 198.51.100.1, skipping";
        let own = (Level::Debug, own.to_owned());
        assert_eq!(first(Importance::Debug, Reason::SameAddress), own);
        assert!(first(Importance::Verbose, Reason::SameAddress).1.starts_with("Scan from"));
    }
}
