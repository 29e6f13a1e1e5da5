//! Wake-ups between threads, through descriptors that an event loop can wait for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, eventfd};

/// A flag with a descriptor that is readable while the flag is set (`eventfd(2)`).
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// Creates a flag that is not set.
    ///
    /// # Errors
    ///
    /// If the process or the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Sets the flag. One system call, which never blocks.
    pub fn set(&self) {
        // It fails only if the counter is at its maximum, and then the flag is set.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    /// Clears the flag. One system call, which never blocks.
    pub fn clear(&self) {
        // It fails only if the flag is not set.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A queue between threads whose descriptor is readable while the queue has items.
///
/// The queue itself is not bounded: either the sender limits the number of items, or it uses
/// [`push_up_to`](Self::push_up_to).
#[derive(Debug)]
pub struct WakeQueue<T> {
    items: Mutex<Vec<T>>,
    wake: Wake,
}

impl<T> WakeQueue<T> {
    /// Creates an empty queue.
    ///
    /// # Errors
    ///
    /// If the process or the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self { items: Mutex::default(), wake: Wake::new()? })
    }

    /// Appends `item`.
    pub fn push(&self, item: T) {
        self.lock().push(item);
        self.wake.set();
    }

    /// Appends items in order until the queue has `capacity` items. Returns how many were
    /// dropped, and leaves `items` empty.
    pub fn push_up_to(&self, capacity: usize, items: &mut Vec<T>) -> usize {
        if items.is_empty() {
            return 0;
        }
        let mut queue = self.lock();
        let accepted = items.len().min(capacity.saturating_sub(queue.len()));
        let dropped = items.len() - accepted;
        queue.extend(items.drain(..accepted));
        drop(queue);
        items.clear();
        self.wake.set();
        dropped
    }

    /// Takes all items, in order. Never waits for any.
    pub fn take(&self) -> Vec<T> {
        let mut items = Vec::new();
        self.take_into(&mut items);
        items
    }

    /// As [`take`](Self::take), into a buffer that is cleared first, so that two buffers
    /// serve for any number of calls.
    pub fn take_into(&self, items: &mut Vec<T>) {
        items.clear();
        // First, so that an item pushed meanwhile makes the descriptor readable again.
        self.wake.clear();
        std::mem::swap(&mut *self.lock(), items);
    }

    /// Makes the descriptor readable until the next [`take`](Self::take), even without items.
    pub fn wake(&self) {
        self.wake.set();
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// Returns whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        // A panic in another thread leaves the list of items intact.
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> AsFd for WakeQueue<T> {
    /// Readable while there are items.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::reactor::{Interest, wait};

    fn is_readable(queue: &WakeQueue<u32>) -> bool {
        wait([Some(Interest::readable(queue.as_fd()))], Some(Duration::ZERO)).unwrap() == [true]
    }

    #[test]
    fn the_descriptor_is_readable_while_there_are_items() {
        let queue = WakeQueue::new().unwrap();
        assert!(!is_readable(&queue));
        queue.push(1);
        queue.push(2);
        assert!(is_readable(&queue));
        assert_eq!(queue.take(), [1, 2]);
        assert!(!is_readable(&queue));
        queue.wake();
        assert!(is_readable(&queue));
        assert!(queue.take().is_empty());
        assert!(!is_readable(&queue));
    }

    #[test]
    fn items_beyond_the_capacity_are_dropped_and_counted() {
        let queue = WakeQueue::new().unwrap();
        let mut items = vec![1, 2, 3];
        assert_eq!(queue.push_up_to(4, &mut items), 0);
        items.extend([4, 5, 6]);
        assert_eq!(queue.push_up_to(4, &mut items), 2);
        assert!(items.is_empty());
        assert_eq!((queue.len(), queue.take()), (4, vec![1, 2, 3, 4]));
        assert!(queue.is_empty());
    }
}
