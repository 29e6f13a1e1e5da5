//! Saying what the kernel dropped: soon, and not too often.
//!
//! Counters are looked at a second after packets were read, so that an idle
//! sensor set is never woken, and one line a minute is the most that is said.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use crate::SensorStats;

const SOON: Duration = Duration::from_secs(1);
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// When to look at the counters, and when to speak.
#[derive(Debug)]
pub(super) struct LossReport {
    timer: OwnedFd,
    armed: bool,
    spoke: Option<Instant>,
    /// What was said of each capture, by its number.
    said: BTreeMap<u64, u64>,
}

/// What the kernel has dropped of a capture since that was opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Loss<'a> {
    /// A number that no other capture has or had.
    pub(super) capture: u64,
    /// The name of its interface.
    pub(super) interface: &'a str,
    pub(super) packets: u64,
}

impl LossReport {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { timer, armed: false, spoke: None, said: BTreeMap::new() })
    }

    /// Readable when it is time to look.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Packets were read, so some may have been dropped.
    pub(super) fn look_soon(&mut self) -> io::Result<()> {
        if self.armed { Ok(()) } else { self.arm(SOON) }
    }

    /// It was time to look, and the captures that are open have lost this. Gives
    /// what is to be said now, by interface; if there is something to say and none
    /// is due yet, the counters are to be looked at again later.
    pub(super) fn looked<'a>(
        &mut self,
        now: Instant,
        losses: &[Loss<'a>],
    ) -> io::Result<Option<Vec<(&'a str, u64)>>> {
        let unsaid = |loss: &Loss<'_>| {
            loss.packets - self.said.get(&loss.capture).copied().unwrap_or_default()
        };
        let new: Vec<(&str, u64)> = losses
            .iter()
            .map(|loss| (loss.interface, unsaid(loss)))
            .filter(|(_, packets)| *packets > 0)
            .collect();
        let wait = self.spoke.map(|spoke| BETWEEN_LINES.saturating_sub(now - spoke));
        match wait.unwrap_or_default() {
            _ if new.is_empty() => self.disarm()?,
            Duration::ZERO => {
                self.disarm()?;
                self.spoke = Some(now);
                self.said = losses.iter().map(|loss| (loss.capture, loss.packets)).collect();
                return Ok(Some(new));
            }
            wait => self.arm(wait)?,
        }
        Ok(None)
    }

    fn arm(&mut self, wait: Duration) -> io::Result<()> {
        self.set(Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?)?;
        self.armed = true;
        Ok(())
    }

    fn disarm(&mut self) -> io::Result<()> {
        self.set(Timespec { tv_sec: 0, tv_nsec: 0 })?;
        self.armed = false;
        Ok(())
    }

    fn set(&self, it_value: Timespec) -> io::Result<()> {
        let timer = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }
}

/// What one interface has lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InterfaceLoss {
    /// Its name.
    pub interface: String,
    /// Packets that were dropped because they were not read in time.
    pub packets: u64,
}

/// What was lost, by interface.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger(BTreeMap<String, u64>);

impl Ledger {
    /// Interfaces that are told apart. On a host that runs for years containers
    /// come and go, and each has an interface of another name.
    const NAMES: usize = 256;

    /// Adds what a capture of `interface` has lost, if anything.
    pub(super) fn add(&mut self, interface: &str, stats: &SensorStats) {
        let packets = stats.dropped_by_kernel + stats.dropped_by_interface;
        if packets == 0 {
            return;
        }
        let is_known = self.0.len() < Self::NAMES || self.0.contains_key(interface);
        let interface = if is_known { interface } else { "(others)" };
        *self.0.entry(interface.to_owned()).or_default() += packets;
    }

    /// By name.
    pub(super) fn into_losses(self) -> Vec<InterfaceLoss> {
        let losses = self.0.into_iter();
        losses.map(|(interface, packets)| InterfaceLoss { interface, packets }).collect()
    }
}

/// What is said of packets that captures have lost.
pub(super) fn line(dropped: &[(&str, u64)]) -> String {
    let mut line = "packets were lost, because they were not read in time:".to_owned();
    let mut separator = "";
    for (name, packets) in dropped {
        // Writing to a string does not fail.
        let _ = write!(line, "{separator} {packets} on interface {name}");
        separator = ",";
    }
    line + "; CAPTURE_BUFFER makes more room"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_is_told_by_interface() {
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
    fn one_line_a_minute() {
        let mut report = LossReport::new().unwrap();
        let start = Instant::now();
        let mut check = |second: u64, losses: [u64; 2], expected: Option<&str>, later: bool| {
            report.look_soon().unwrap();
            let [eth0, lo] = losses;
            let losses = [
                Loss { capture: 3, interface: "eth0", packets: eth0 },
                Loss { capture: 4, interface: "lo", packets: lo },
            ];
            let new = report.looked(start + Duration::from_secs(second), &losses).unwrap();
            let line = new.map(|new| line(&new));
            let expected = expected.map(|what| {
                format!(
                    "packets were lost, because they were not read in time: {what}; \
                     CAPTURE_BUFFER makes more room"
                )
            });
            assert_eq!((line, report.armed), (expected, later), "second {second}");
        };
        check(0, [0, 0], None, false);
        check(1, [7, 0], Some("7 on interface eth0"), false);
        check(2, [7, 0], None, false);
        check(3, [9, 0], None, true);
        check(60, [9, 1], None, true);
        check(61, [16, 1], Some("9 on interface eth0, 1 on interface lo"), false);
        check(200, [16, 1], None, false);
        check(201, [16, 3], Some("2 on interface lo"), false);
    }
}
