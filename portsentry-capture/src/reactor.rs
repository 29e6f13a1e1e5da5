//! Waits for descriptors and deadlines, and combines many descriptors into one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

const ZERO: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// A descriptor and the events to wait for.
#[derive(Clone, Copy, Debug)]
pub struct Interest<'fd> {
    descriptor: BorrowedFd<'fd>,
    flags: PollFlags,
}

impl<'fd> Interest<'fd> {
    /// Waits until `descriptor` is readable.
    pub fn readable(descriptor: BorrowedFd<'fd>) -> Self {
        Self { descriptor, flags: PollFlags::IN }
    }

    /// Waits until `descriptor` is writable.
    pub fn writable(descriptor: BorrowedFd<'fd>) -> Self {
        Self { descriptor, flags: PollFlags::OUT }
    }

    /// Waits until the descriptor is writable, too.
    #[must_use]
    pub fn or_writable(self) -> Self {
        Self { flags: self.flags | PollFlags::OUT, ..self }
    }
}

/// Waits until one of `interests` is ready or `limit` is over; `None` waits without a limit.
/// Returns which are ready; a descriptor in error or closed by its peer is ready. Entries that
/// are `None` are never ready.
///
/// A signal ends the wait, and then nothing is ready. So callers must check their deadlines
/// and flags again after each call.
///
/// # Errors
///
/// If the kernel has no memory, or there are more descriptors than the process may have open.
pub fn wait<const N: usize>(
    interests: [Option<Interest<'_>>; N],
    limit: Option<Duration>,
) -> io::Result<[bool; N]> {
    let timeout = limit.and_then(|limit| Timespec::try_from(limit).ok());
    let timeout = timeout.as_ref();
    let Some(first) = interests.iter().flatten().next().copied() else {
        return interrupted_is_idle(poll(&mut [], timeout)).map(|()| [false; N]);
    };
    // A missing entry is the first descriptor again, without any event.
    let nothing = Interest { flags: PollFlags::empty(), ..first };
    let mut polled = interests.map(|interest| {
        let Interest { descriptor, flags } = interest.unwrap_or(nothing);
        PollFd::from_borrowed_fd(descriptor, flags)
    });
    interrupted_is_idle(poll(&mut polled, timeout))?;
    let mut interests = interests.iter();
    Ok(polled.map(|it| interests.next().is_some_and(Option::is_some) && !it.revents().is_empty()))
}

/// After a signal, the events in `poll`'s array are as before the call: none.
fn interrupted_is_idle(result: Result<usize, Errno>) -> io::Result<()> {
    match result {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A one-shot timer on the monotonic clock whose descriptor is readable once it has expired
/// (`timerfd_create(2)`).
#[derive(Debug)]
pub struct Timer(OwnedFd);

impl Timer {
    /// Creates a timer that is not armed.
    ///
    /// # Errors
    ///
    /// If the process or the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Monotonic, flags)?))
    }

    /// Lets the timer expire once, `after` that time. Replaces an earlier expiry, and makes
    /// the descriptor unreadable until then.
    ///
    /// # Errors
    ///
    /// If the time is longer than the kernel can count, about 292 years.
    pub fn arm(&self, after: Duration) -> io::Result<()> {
        // Zero would disarm the timer.
        let after = after.max(Duration::from_nanos(1));
        self.set(Timespec::try_from(after).map_err(|_| io::ErrorKind::InvalidInput)?)
    }

    /// Makes the descriptor unreadable until the timer is armed again.
    ///
    /// # Errors
    ///
    /// None that the kernel documents for a valid descriptor.
    pub fn disarm(&self) -> io::Result<()> {
        self.set(ZERO)
    }

    fn set(&self, it_value: Timespec) -> io::Result<()> {
        let once = Itimerspec { it_interval: ZERO, it_value };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A set of descriptors with tokens. The descriptor of the set is readable when any of them is
/// ready (`epoll(7)`).
#[derive(Debug)]
pub(crate) struct EventSet(OwnedFd);

/// Events that an [`EventSet`] watches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watch {
    /// Readable.
    In,
    /// Readable, for one event. Then [`EventSet::modify`] has to be called before the next one.
    InOnce,
    /// Writable.
    #[cfg(feature = "connect")]
    Out,
    /// Errors only.
    #[cfg(feature = "connect")]
    Nothing,
}

/// Tokens of at most `N` ready descriptors.
#[derive(Clone, Copy)]
pub(crate) struct Ready<const N: usize> {
    events: [epoll::Event; N],
    count: usize,
}

impl<const N: usize> Ready<N> {
    /// Returns the number of tokens.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Returns whether more descriptors may be ready than there was room for.
    pub(crate) fn is_full(&self) -> bool {
        self.count == N
    }

    /// Returns the tokens.
    pub(crate) fn tokens(&self) -> impl Iterator<Item = u64> {
        self.events.iter().take(self.count).map(|event| event.data.u64())
    }
}

impl EventSet {
    /// Creates an empty set.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    /// Adds `descriptor`. Closing the descriptor removes it.
    pub(crate) fn add(&self, descriptor: impl AsFd, token: u64, watch: Watch) -> Result<(), Errno> {
        epoll::add(&self.0, descriptor, epoll::EventData::new_u64(token), watch.flags())
    }

    /// Changes token and events of a descriptor in the set.
    pub(crate) fn modify(
        &self,
        descriptor: impl AsFd,
        token: u64,
        watch: Watch,
    ) -> Result<(), Errno> {
        epoll::modify(&self.0, descriptor, epoll::EventData::new_u64(token), watch.flags())
    }

    /// Removes `descriptor`, if it is in the set.
    pub(crate) fn remove(&self, descriptor: impl AsFd) {
        // The only error for a valid descriptor is that it is not in the set.
        let _ = epoll::delete(&self.0, descriptor);
    }

    /// Returns descriptors that are ready now. Never waits.
    pub(crate) fn ready<const N: usize>(&self) -> Result<Ready<N>, Errno> {
        self.wait(Duration::ZERO)
    }

    /// Waits for at most `limit` until a descriptor is ready.
    pub(crate) fn wait<const N: usize>(&self, limit: Duration) -> Result<Ready<N>, Errno> {
        let (flags, data) = (epoll::EventFlags::empty(), epoll::EventData::new_u64(0));
        let mut events = [epoll::Event { flags, data }; N];
        let timeout = Timespec::try_from(limit).ok();
        let count = epoll::wait(&self.0, &mut events, timeout.as_ref())?;
        Ok(Ready { events, count })
    }
}

impl AsFd for EventSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Watch {
    fn flags(self) -> epoll::EventFlags {
        match self {
            Self::In => epoll::EventFlags::IN,
            Self::InOnce => epoll::EventFlags::IN | epoll::EventFlags::ONESHOT,
            #[cfg(feature = "connect")]
            Self::Out => epoll::EventFlags::OUT,
            #[cfg(feature = "connect")]
            Self::Nothing => epoll::EventFlags::empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wake::Wake;

    #[test]
    fn only_ready_entries_are_reported() {
        let (set, clear) = (Wake::new().unwrap(), Wake::new().unwrap());
        set.set();
        fn readable(wake: &Wake) -> Option<Interest<'_>> {
            Some(Interest::readable(wake.as_fd()))
        }
        let ready = wait([readable(&clear), None, readable(&set), None], None).unwrap();
        assert_eq!(ready, [false, false, true, false]);
        // The descriptor that fills the place of a missing entry is ready here.
        let ready = wait([None, readable(&set)], Some(Duration::from_secs(9))).unwrap();
        assert_eq!(ready, [false, true]);
        let ready = wait([Some(Interest::readable(clear.as_fd()).or_writable())], None).unwrap();
        assert_eq!(ready, [true]);
        assert_eq!(wait([readable(&clear)], Some(Duration::ZERO)).unwrap(), [false]);
        assert_eq!(wait([None, None], Some(Duration::ZERO)).unwrap(), [false; 2]);
    }

    #[test]
    fn a_timer_expires_once_and_can_be_disarmed() {
        let timer = Timer::new().unwrap();
        let expires =
            |limit| wait([Some(Interest::readable(timer.as_fd()))], limit).unwrap() == [true];
        timer.arm(Duration::ZERO).unwrap();
        assert!(expires(None), "a time of zero expires immediately");
        timer.arm(Duration::from_secs(1_000)).unwrap();
        assert!(!expires(Some(Duration::ZERO)));
        timer.arm(Duration::from_millis(1)).unwrap();
        assert!(expires(None));
        timer.disarm().unwrap();
        assert!(!expires(Some(Duration::ZERO)));
        assert!(timer.arm(Duration::MAX).is_err());
    }
}
