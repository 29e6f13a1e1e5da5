//! The bounded queue to the reporter thread.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portsentry_capture::ConnectNotice;
use portsentry_core::Event;
use portsentry_report::{LineOptions, Notice, Report};
use portsentry_respond::History;

/// Maximum number of items, about 10 MiB. The memory is allocated as the queue grows.
const CAPACITY: usize = 1 << 16;

/// An item for the reporter.
#[derive(Debug)]
pub enum LogItem {
    /// An event of the engine.
    Event(Event),
    /// A step or result of a response.
    Report(Report),
    /// A notice for the administrator.
    Notice(Notice),
    /// A notice of the sensor in connect mode.
    Sensor(ConnectNotice),
    /// The name of a host, `None` if it has none.
    Name(IpAddr, Option<String>),
    /// New options, for all later items.
    Change(Box<Change>),
    /// A new history, created because the previous one was removed.
    History(Box<History>),
}

impl LogItem {
    /// Returns the host whose name the lines of the item contain.
    pub(super) fn host(&self) -> Option<IpAddr> {
        match self {
            Self::Event(Event::Probe(probe)) => Some(probe.observation.source),
            Self::Report(report) => Some(report.host),
            _ => None,
        }
    }
}

/// Options for all later lines.
#[derive(Debug)]
pub struct Change {
    /// The selection of lines.
    pub options: LineOptions,
    /// The history; `None` to write none.
    pub history: Option<History>,
    /// Whether to look up host names.
    pub resolve_names: bool,
}

/// A queue with any number of writers and one reader.
#[derive(Debug, Default)]
pub struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    finished: Condvar,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<LogItem>,
    lost: u64,
    /// Whether the reader has started. Until then, no item is dropped: the start of the
    /// program logs at most one line per port.
    read: bool,
    closed: bool,
    /// Number of unwritten lines, set when the reader exits.
    finished: Option<u64>,
}

/// All items that the reader takes in one call.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// The items, in the order in which they were added.
    pub(super) items: VecDeque<LogItem>,
    /// Number of items lost since the last batch because the queue was full.
    pub(super) lost: u64,
}

/// The times until which the reader waits for items.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadline {
    /// The limit in every state of the queue.
    pub(super) firm: Option<Instant>,
    /// The limit while the queue is open.
    pub(super) while_open: Option<Instant>,
}

impl Queue {
    /// Appends all `items` under one lock, which is never held during a write to an
    /// output. If the queue is full, counts and drops the rest.
    pub fn extend(&self, items: impl Iterator<Item = LogItem>) {
        let mut state = self.lock();
        let was_empty = state.items.is_empty();
        for item in items {
            if state.items.len() < CAPACITY || !state.read {
                state.items.push_back(item);
            } else {
                state.lost += 1;
            }
        }
        if was_empty && !state.items.is_empty() {
            self.filled.notify_one();
        }
    }

    /// Appends one item.
    pub fn push(&self, item: LogItem) {
        self.extend(std::iter::once(item));
    }

    /// Moves all items to `batch`. If there is none, waits until `deadline`. Overwrites
    /// `batch` and exchanges its buffer with that of the queue, so that nothing is
    /// allocated once both have grown. Returns false if the queue is closed and empty,
    /// without a firm deadline.
    pub(super) fn take(&self, batch: &mut Batch, deadline: Deadline) -> bool {
        batch.items.clear();
        let mut state = self.lock();
        state.read = true;
        while state.items.is_empty() {
            let deadline = if state.closed {
                deadline.firm
            } else {
                [deadline.firm, deadline.while_open].into_iter().flatten().min()
            };
            let Some(deadline) = deadline else {
                if state.closed {
                    break;
                }
                state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.filled.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::swap(&mut state.items, &mut batch.items);
        batch.lost = std::mem::take(&mut state.lost);
        !(batch.items.is_empty() && batch.lost == 0 && state.closed && deadline.firm.is_none())
    }

    /// Closes the queue: the reader exits when it has taken all items.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// Stores the number of lines that the reader could not write. The reader calls it
    /// when it exits.
    pub(super) fn finish(&self, unwritten: u64) {
        let mut state = self.lock();
        state.finished = Some(unwritten);
        self.finished.notify_all();
    }

    /// Waits for the exit of the reader, at most for `limit`. Returns whether it has
    /// exited, and the number of unwritten lines.
    pub(super) fn wait_finished(&self, limit: Duration) -> (bool, u64) {
        let state = self.lock();
        let (state, _) = self
            .finished
            .wait_timeout_while(state, limit, |state| state.finished.is_none())
            .unwrap_or_else(PoisonError::into_inner);
        let unread = state.items.len() as u64 + state.lost;
        (state.finished.is_some(), state.finished.unwrap_or(unread))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of another thread leaves the queue in a valid state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use portsentry_report::Level;

    use super::*;

    fn line(text: &str) -> LogItem {
        LogItem::Notice(Notice::Message { level: Level::Notice, text: text.to_owned() })
    }

    #[test]
    fn items_above_the_capacity_are_counted() {
        let queue = Queue::default();
        let mut batch = Batch::default();
        // Before the reader starts, nothing is lost.
        queue.extend((0..CAPACITY + 7).map(|n| line(&n.to_string())));
        assert!(queue.take(&mut batch, Deadline::default()));
        assert_eq!((batch.items.len(), batch.lost), (CAPACITY + 7, 0));
        queue.extend((0..CAPACITY + 7).map(|n| line(&n.to_string())));
        assert!(queue.take(&mut batch, Deadline::default()));
        assert_eq!(batch.items.len(), CAPACITY);
        let last = (CAPACITY - 1).to_string();
        assert!(
            matches!(batch.items.back(), Some(LogItem::Notice(notice)) if notice.to_string() == last)
        );
        assert_eq!(batch.lost, 7);
        queue.push(line("after"));
        assert!(queue.take(&mut batch, Deadline::default()));
        assert_eq!((batch.items.len(), batch.lost), (1, 0));
    }

    #[test]
    fn a_closed_queue_is_emptied_first() {
        let queue = Queue::default();
        queue.push(line("last"));
        queue.close();
        let mut batch = Batch::default();
        assert!(queue.take(&mut batch, Deadline::default()));
        assert!(!queue.take(&mut batch, Deadline::default()));
    }

    #[test]
    fn a_firm_deadline_applies_to_a_closed_queue() {
        let queue = Queue::default();
        queue.close();
        let mut batch = Batch::default();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(queue.take(&mut batch, Deadline { firm: Some(deadline), while_open: None }));
        assert!(Instant::now() >= deadline);
        assert!(batch.items.is_empty());
    }

    #[test]
    fn the_wait_for_a_hung_reader_has_a_limit() {
        let queue = Queue::default();
        queue.push(line("unread"));
        assert_eq!(queue.wait_finished(Duration::from_millis(1)), (false, 1));
        queue.finish(0);
        assert_eq!(queue.wait_finished(Duration::from_secs(60)), (true, 0));
    }
}
