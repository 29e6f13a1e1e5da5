//! Signals, as a descriptor and flags.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The signals that the sentry handles, from the creation of this on.
#[derive(Debug)]
pub(crate) struct Signals {
    wake: UnixStream,
    terminate: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Takes over SIGINT, SIGTERM and SIGHUP for the whole process.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor left.
    pub(crate) fn install() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let signals = Self { wake, terminate: Arc::default(), reload: Arc::default() };
        let flags = [
            (SIGINT, &signals.terminate),
            (SIGTERM, &signals.terminate),
            (SIGHUP, &signals.reload),
        ];
        for (signal, flag) in flags {
            // In this order, the main thread finds the flag set when it wakes.
            signal_hook::flag::register(signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(signals)
    }

    /// Returns a descriptor that is readable after a signal.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Makes the descriptor wait for the next signal. Call this before the flags are read.
    pub(crate) fn clear(&mut self) {
        let mut bytes = [0; 64];
        while self.wake.read(&mut bytes).is_ok_and(|count| count > 0) {}
    }

    /// Returns whether the sentry is to end.
    pub(crate) fn terminate(&self) -> bool {
        self.terminate.load(Ordering::Relaxed)
    }

    /// Returns whether the configuration is to be loaded again, and clears the request.
    pub(crate) fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::Relaxed)
    }
}
