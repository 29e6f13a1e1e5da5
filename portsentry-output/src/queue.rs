//! The bounded queue before the reporter thread.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use portsentry_capture::ConnectNotice;
use portsentry_core::Event;
use portsentry_report::{LineOptions, Notice, Report};
use portsentry_respond::History;

/// Items the queue holds at most: about 10 MiB when full, touched only then.
const CAPACITY: usize = 1 << 16;

/// One thing for the reporter.
#[derive(Debug)]
pub enum LogItem {
    /// An event of the engine.
    Event(Event),
    /// Something about a response.
    Report(Report),
    /// Something that the administrator should know.
    Notice(Notice),
    /// A notice of bound sockets.
    Sensor(ConnectNotice),
    /// The name of a host, or that it has none.
    Name(IpAddr, Option<String>),
    /// From here on, lines are written in another way.
    Change(Box<Change>),
    /// The history was removed; this is the one that was begun then.
    History(Box<History>),
}

impl LogItem {
    /// The host whose name the item's lines show.
    pub(super) fn host(&self) -> Option<IpAddr> {
        match self {
            Self::Event(Event::Probe(probe)) => Some(probe.observation.source),
            Self::Report(report) => Some(report.host),
            _ => None,
        }
    }
}

/// How lines are written from now on.
#[derive(Debug)]
pub struct Change {
    /// Which lines are wanted.
    pub options: LineOptions,
    /// The history, if there is to be one.
    pub history: Option<History>,
    /// Whether names of hosts are looked up.
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
    /// Whether the reader has come. What the start has to say before that is all
    /// kept: a line for each port at most.
    read: bool,
    closed: bool,
    /// Number of unwritten lines, once the reader has ended.
    finished: Option<u64>,
}

/// The items that the reader takes out together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// In the order they were put in.
    pub(super) items: VecDeque<LogItem>,
    /// Items that found the queue full since the last batch.
    pub(super) lost: u64,
}

/// Until when the reader waits for items.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadline {
    /// In any case.
    pub(super) firm: Option<Instant>,
    /// While the queue is open.
    pub(super) while_open: Option<Instant>,
}

impl Queue {
    /// Puts all of `items` in, under one lock. The lock is never held while
    /// anything is written. Those that find no room are counted and dropped.
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

    /// Puts one item in.
    pub fn push(&self, item: LogItem) {
        self.extend(std::iter::once(item));
    }

    /// Takes everything out, and waits for it if there is nothing, at most until
    /// `deadline`. `batch` is overwritten; its buffer becomes the queue's, so
    /// nothing is allocated once both have grown. `false` once the queue is
    /// closed and empty, and there is no firm deadline to wait for.
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

    /// Lets the reader end once it has taken all that is in the queue.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.filled.notify_one();
    }

    /// To be called by the reader when it ends, with the number of lines that
    /// it could not write.
    pub(super) fn finish(&self, unwritten: u64) {
        let mut state = self.lock();
        state.finished = Some(unwritten);
        self.finished.notify_all();
    }

    /// Waits until the reader has ended, at most `limit`. Gives whether it has,
    /// and the number of lines that are not written.
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
        // A panic elsewhere leaves a queue that is still a queue.
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
    fn what_finds_no_room_is_counted() {
        let queue = Queue::default();
        let mut batch = Batch::default();
        // Before there is a reader, nothing is lost.
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
    fn a_deadline_is_kept_even_when_closed() {
        let queue = Queue::default();
        queue.close();
        let mut batch = Batch::default();
        let deadline = Instant::now() + Duration::from_millis(20);
        assert!(queue.take(&mut batch, Deadline { firm: Some(deadline), while_open: None }));
        assert!(Instant::now() >= deadline);
        assert!(batch.items.is_empty());
    }

    #[test]
    fn a_reader_that_does_not_end_is_not_waited_for_for_ever() {
        let queue = Queue::default();
        queue.push(line("unread"));
        assert_eq!(queue.wait_finished(Duration::from_millis(1)), (false, 1));
        queue.finish(0);
        assert_eq!(queue.wait_finished(Duration::from_secs(60)), (true, 0));
    }
}
