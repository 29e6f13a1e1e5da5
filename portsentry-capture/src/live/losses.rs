//! Saying what the kernel dropped: soon, and not too often.
//!
//! Counters are looked at a second after packets were read, so that an idle
//! sensor set is never woken, and one line a minute is the most that is said.

use std::fmt::Write;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::Timespec;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

const SOON: Duration = Duration::from_secs(1);
const BETWEEN_LINES: Duration = Duration::from_secs(60);

/// When to look at the counters, and when to speak.
#[derive(Debug)]
pub(super) struct LossReport {
    timer: OwnedFd,
    armed: bool,
    said: Option<Instant>,
}

impl LossReport {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { timer, armed: false, said: None })
    }

    /// Readable when it is time to look.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }

    /// Packets were read, so some may have been dropped.
    pub(super) fn look_soon(&mut self) -> io::Result<()> {
        if self.armed { Ok(()) } else { self.arm(SOON) }
    }

    /// It was time to look, and so many packets were newly found dropped on
    /// these interfaces. Gives the line to say now; if none is due yet, the
    /// counters are to be looked at again later.
    pub(super) fn looked(
        &mut self,
        now: Instant,
        dropped: &[(&str, u64)],
    ) -> io::Result<Option<String>> {
        let wait = self.said.map(|said| BETWEEN_LINES.saturating_sub(now - said));
        match wait.unwrap_or_default() {
            _ if dropped.is_empty() => self.disarm()?,
            Duration::ZERO => {
                self.disarm()?;
                self.said = Some(now);
                return Ok(Some(line(dropped)));
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

fn line(dropped: &[(&str, u64)]) -> String {
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
    fn one_line_a_minute() {
        let mut report = LossReport::new().unwrap();
        let start = Instant::now();
        let mut check = |second: u64, dropped: &[(&str, u64)], expected: Option<&str>| {
            report.look_soon().unwrap();
            let line = report.looked(start + Duration::from_secs(second), dropped).unwrap();
            let expected = expected.map(|what| {
                format!(
                    "packets were lost, because they were not read in time: {what}; \
                     CAPTURE_BUFFER makes more room"
                )
            });
            assert_eq!(
                (line, report.armed),
                (expected.clone(), expected.is_none() && !dropped.is_empty())
            );
        };
        check(0, &[], None);
        check(1, &[("eth0", 7)], Some("7 on interface eth0"));
        check(2, &[], None);
        check(3, &[("eth0", 9)], None);
        check(60, &[("eth0", 9)], None);
        let two = [("eth0", 9), ("lo", 1)];
        check(61, &two, Some("9 on interface eth0, 1 on interface lo"));
    }
}
