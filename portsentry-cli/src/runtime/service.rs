//! Messages to the service manager, if there is one.

use std::time::Duration;

use sd_notify::NotifyState;

/// Tells the service manager, if there is one (`sd_notify(3)`).
#[derive(Debug)]
pub(crate) struct Manager {
    watchdog: Option<Duration>,
}

impl Manager {
    /// The manager that the environment names, and its watchdog.
    pub(crate) fn from_environment() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// How often [`alive`](Self::alive) is to be called: twice in each period.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|period| period / 2)
    }

    /// It watches, or watches again.
    pub(crate) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// It reads its configuration again.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => tell(&[NotifyState::Reloading, now]),
            Err(_) => tell(&[NotifyState::Reloading]),
        }
    }

    /// It is about to end.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping]);
    }

    /// The packet thread goes round.
    pub(crate) fn alive(&self) {
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    // Without a manager this does nothing; one that does not listen is no reason to stop.
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("cannot tell the service manager: {error}");
    }
}
