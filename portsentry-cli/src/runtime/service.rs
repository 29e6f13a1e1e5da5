//! Messages to the service manager, if there is one.

use std::time::Duration;

use sd_notify::NotifyState;

/// Sends notifications to the service manager, if there is one (`sd_notify(3)`).
#[derive(Debug)]
pub(crate) struct Manager {
    watchdog: Option<Duration>,
}

impl Manager {
    /// Returns the manager that the environment names, with its watchdog.
    pub(crate) fn from_environment() -> Self {
        Self { watchdog: sd_notify::watchdog_enabled() }
    }

    /// Returns the interval of [`alive`](Self::alive): half of the watchdog's period.
    pub(crate) fn interval(&self) -> Option<Duration> {
        self.watchdog.map(|period| period / 2)
    }

    /// Reports that the sentry watches, or watches again.
    pub(crate) fn ready(&self, status: &str) {
        notify(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Reports that the sentry reads its configuration again.
    pub(crate) fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => notify(&[NotifyState::Reloading, now]),
            Err(_) => notify(&[NotifyState::Reloading]),
        }
    }

    /// Reports that the sentry is about to end.
    pub(crate) fn stopping(&self) {
        notify(&[NotifyState::Stopping]);
    }

    /// Reports that the packet thread is responsive.
    pub(crate) fn alive(&self) {
        notify(&[NotifyState::Watchdog]);
    }
}

fn notify(states: &[NotifyState<'_>]) {
    // Without a manager this does nothing; a failure does not stop the sentry.
    if let Err(error) = sd_notify::notify(states) {
        log::debug!("cannot notify the service manager: {error}");
    }
}
