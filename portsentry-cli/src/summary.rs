//! The one line at the end: what was seen, found and lost.

use std::fmt;

use portsentry_capture::SensorStats;

/// What a run amounted to. `Display` gives the line.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    pub(crate) sensors: SensorStats,
    pub(crate) probes: u64,
    /// Whether a kernel could have dropped packets: not so for files.
    pub(crate) live: bool,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sensors, probes, live } = self;
        write!(f, "{} packets seen, {probes} probes", sensors.received)?;
        if *live {
            let dropped = sensors.dropped_by_kernel + sensors.dropped_by_interface;
            write!(f, ", {dropped} dropped by the kernel")?;
        }
        let malformed = sensors.tally.iter().filter(|(kind, _)| kind.is_malformed());
        let mut kinds = Vec::new();
        let mut undecodable = 0;
        for (kind, count) in malformed.filter(|(_, count)| *count > 0) {
            undecodable += count;
            kinds.push(format!("{count} {kind}"));
        }
        write!(f, ", {undecodable} undecodable")?;
        if !kinds.is_empty() {
            write!(f, " ({})", kinds.join(", "))?;
        }
        Ok(())
    }
}
