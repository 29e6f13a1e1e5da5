//! Decides when to check the kernel's drop counters, and when to log them.
//!
//! The counters are checked one second after packets were read, so that an idle sensor set is
//! never woken. At most one line a minute is logged.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::SensorStats;
use crate::reactor::Timer;

const SOON: Duration = Duration::from_secs(1);
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// Schedule of the checks and of the log lines.
#[derive(Debug)]
pub(super) struct LossReport {
    timer: Timer,
    armed: bool,
    last_line: Option<Instant>,
    /// Number of drops already logged, by capture.
    logged: BTreeMap<u64, u64>,
}

/// Number of packets that the kernel dropped from a capture since it was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss<'a> {
    /// Number of the capture, never reused.
    pub(super) capture: u64,
    /// The name of its interface.
    pub(super) interface: &'a str,
    pub(super) packets: u64,
}

impl LossReport {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { timer: Timer::new()?, armed: false, last_line: None, logged: BTreeMap::new() })
    }

    /// Readable when it is time to check the counters.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Schedules a check, because packets were read and some may have been dropped.
    pub(super) fn check_soon(&mut self) -> io::Result<()> {
        if self.armed { Ok(()) } else { self.arm(SOON) }
    }

    /// Takes the counters of the open captures. Returns the drops to log now, by interface. If
    /// there are drops but no line is due yet, schedules another check.
    pub(super) fn checked<'a>(
        &mut self,
        now: Instant,
        losses: &[Loss<'a>],
    ) -> io::Result<Option<Vec<(&'a str, u64)>>> {
        let unlogged = |loss: &Loss<'_>| {
            loss.packets - self.logged.get(&loss.capture).copied().unwrap_or_default()
        };
        let new: Vec<(&str, u64)> = losses
            .iter()
            .map(|loss| (loss.interface, unlogged(loss)))
            .filter(|(_, packets)| *packets > 0)
            .collect();
        let wait = self.last_line.map(|last_line| BETWEEN_LINES.saturating_sub(now - last_line));
        match wait.unwrap_or_default() {
            _ if new.is_empty() => self.disarm()?,
            Duration::ZERO => {
                self.disarm()?;
                self.last_line = Some(now);
                self.logged = losses.iter().map(|loss| (loss.capture, loss.packets)).collect();
                return Ok(Some(new));
            }
            wait => self.arm(wait)?,
        }
        Ok(None)
    }

    fn arm(&mut self, wait: Duration) -> io::Result<()> {
        self.armed = true;
        self.timer.arm(wait)
    }

    fn disarm(&mut self) -> io::Result<()> {
        self.armed = false;
        self.timer.disarm()
    }
}

/// Packets lost on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct InterfaceLoss {
    /// Name of the interface.
    pub interface: String,
    /// Number of packets dropped because they were not read in time.
    pub packets: u64,
}

impl InterfaceLoss {
    /// Creates the loss of `interface`.
    #[must_use]
    pub fn new(interface: impl Into<String>, packets: u64) -> Self {
        Self { interface: interface.into(), packets }
    }
}

/// Lost packets by interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, u64>);

impl Ledger {
    /// Maximum number of names. Over the years, many containers may appear and disappear, each
    /// with a new interface name.
    const NAMES: usize = 256;

    /// Adds the losses of a capture of `interface`.
    pub(super) fn add(&mut self, interface: &str, stats: &SensorStats) {
        let packets = stats.dropped_by_kernel + stats.dropped_by_interface;
        if packets == 0 {
            return;
        }
        let is_known = self.0.len() < Self::NAMES || self.0.contains_key(interface);
        let interface = if is_known { interface } else { "(others)" };
        *self.0.entry(interface.to_owned()).or_default() += packets;
    }

    /// Returns the losses, sorted by name.
    pub(super) fn into_losses(self) -> Vec<InterfaceLoss> {
        let losses = self.0.into_iter();
        losses.map(|(interface, packets)| InterfaceLoss { interface, packets }).collect()
    }
}

/// Returns the log line for dropped packets.
pub(super) fn line(dropped: &[(&str, u64)]) -> String {
    let mut line = "the kernel dropped".to_owned();
    let mut separator = "";
    for (name, packets) in dropped {
        // Writing to a string does not fail.
        let _ = write!(line, "{separator} {packets} packets on {name}");
        separator = ",";
    }
    line + " (capture buffer full); consider raising CAPTURE_BUFFER"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_counted_by_interface() {
        let mut ledger = Ledger::default();
        let stats = |kernel, interface| SensorStats {
            dropped_by_kernel: kernel,
            dropped_by_interface: interface,
            ..SensorStats::default()
        };
        ledger.add("eth1", &stats(3, 0));
        ledger.add("eth0", &stats(1, 2));
        ledger.add("lo", &stats(0, 0));
        ledger.add("eth1", &stats(4, 0));
        let loss =
            |interface: &str, packets| InterfaceLoss { interface: interface.to_owned(), packets };
        assert_eq!(ledger.clone().into_losses(), [loss("eth0", 3), loss("eth1", 7)]);

        for number in 0..1_000 {
            ledger.add(&format!("veth{number:03}"), &stats(1, 0));
        }
        ledger.add("eth1", &stats(1, 0));
        let losses = ledger.into_losses();
        assert_eq!(losses.len(), Ledger::NAMES + 1);
        assert_eq!(losses[0], loss("(others)", 1_000 - 254));
        assert_eq!(losses[2], loss("eth1", 8));
    }

    #[test]
    fn at_most_one_line_a_minute_is_logged() {
        let mut report = LossReport::new().unwrap();
        let start = Instant::now();
        let mut check = |second: u64, losses: [u64; 2], expected: Option<&str>, later: bool| {
            report.check_soon().unwrap();
            let [eth0, lo] = losses;
            let losses = [
                Loss { capture: 3, interface: "eth0", packets: eth0 },
                Loss { capture: 4, interface: "lo", packets: lo },
            ];
            let new = report.checked(start + Duration::from_secs(second), &losses).unwrap();
            let line = new.map(|new| line(&new));
            let expected = expected.map(|what| {
                format!(
                    "the kernel dropped {what} (capture buffer full); \
                     consider raising CAPTURE_BUFFER"
                )
            });
            assert_eq!((line, report.armed), (expected, later), "second {second}");
        };
        check(0, [0, 0], None, false);
        check(1, [7, 0], Some("7 packets on eth0"), false);
        check(2, [7, 0], None, false);
        check(3, [9, 0], None, true);
        check(60, [9, 1], None, true);
        check(61, [16, 1], Some("9 packets on eth0, 1 packets on lo"), false);
        check(200, [16, 1], None, false);
        check(201, [16, 3], Some("2 packets on lo"), false);
    }
}
