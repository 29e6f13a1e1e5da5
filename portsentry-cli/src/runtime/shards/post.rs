//! What one thread has to say to another.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// Letters in the order they were put in, behind a descriptor to wait for. Who
/// puts them in bounds their number.
#[derive(Debug)]
pub(super) struct Post<T> {
    letters: Mutex<Vec<T>>,
    /// Readable when there is any.
    filled: OwnedFd,
}

impl<T> Post<T> {
    pub(super) fn new() -> io::Result<Self> {
        let filled = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { letters: Mutex::default(), filled })
    }

    /// Readable when [`take`](Self::take) has something.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.filled.as_fd()
    }

    /// Puts one in.
    pub(super) fn put(&self, letter: T) {
        self.lock().push(letter);
        self.wake();
    }

    /// Takes all out. Never waits for any.
    pub(super) fn take(&self) -> Vec<T> {
        // Before the letters: what comes afterwards makes it readable again.
        let _ = rustix::io::read(&self.filled, &mut [0; 8]);
        std::mem::take(&mut *self.lock())
    }

    /// Makes it readable until the next [`take`](Self::take).
    pub(super) fn wake(&self) {
        // It fails only when it is readable already.
        let _ = rustix::io::write(&self.filled, &1_u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // A panic elsewhere leaves letters that are still letters.
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
