//! The threads that run responses.
//!
//! A thread reports the lines of a response before it returns the outcome. So these lines are in the
//! log before the event of the probe, which waits for the outcome.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use portsentry_capture::wake::{Wake, WakeQueue};
use portsentry_core::Outcome;
use portsentry_report::Report;

use crate::actions::Actions;
use crate::actions::command::{GRACE, ProbeContext};

/// Responses carried out at the same time; a slow command holds up one of them.
const WORKERS: usize = 8;

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Which one, as it was named when it was asked for.
    pub id: u64,
    /// How.
    pub outcome: Outcome,
}

/// Carries out responses on threads of its own.
///
/// The queue of jobs has no bound here: whoever asks has at most
/// [`Limits::responses`](portsentry_core::Limits::responses) under way.
#[derive(Debug)]
pub struct WorkerPool {
    jobs: Sender<Job>,
    completions: Arc<WakeQueue<Completion>>,
    /// Readable once running commands are to end.
    stop: Arc<Wake>,
    state: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Job {
    id: u64,
    probe: ProbeContext,
    actions: Arc<Actions>,
}

/// What workers tell of, for `finish`.
#[derive(Debug, Default)]
struct Shared {
    load: Mutex<Load>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Load {
    queued: usize,
    running: usize,
    closing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Load> {
        self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_idle<'a>(
        &self,
        load: MutexGuard<'a, Load>,
        patience: Duration,
    ) -> MutexGuard<'a, Load> {
        let idle = self.changed.wait_timeout_while(load, patience, |load| load.running > 0);
        idle.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl WorkerPool {
    /// Starts the threads. `tell` gets what is to be said about each response,
    /// before its completion can be taken.
    ///
    /// # Errors
    ///
    /// If the system has no thread or descriptor left.
    pub fn start(tell: impl Fn(Report) + Send + Sync + 'static) -> io::Result<Self> {
        let tell: Arc<dyn Fn(Report) + Send + Sync> = Arc::new(tell);
        let (jobs, queue) = mpsc::channel::<Job>();
        let completions = Arc::new(WakeQueue::new()?);
        let queue = Arc::new(Mutex::new(queue));
        let stop = Arc::new(Wake::new()?);
        let state = Arc::<Shared>::default();
        let workers = (0..WORKERS)
            .map(|_| {
                let worker = Worker {
                    queue: Arc::clone(&queue),
                    completions: Arc::clone(&completions),
                    stop: Arc::clone(&stop),
                    state: Arc::clone(&state),
                    tell: Arc::clone(&tell),
                };
                std::thread::Builder::new()
                    .name("responder".to_owned())
                    .stack_size(256 * 1024)
                    .spawn(move || worker.run())
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { jobs, completions, stop, state, workers })
    }

    /// Queues the response `id` to a probe, to be carried out as `actions` say.
    /// Never blocks.
    pub fn respond(&self, id: u64, probe: ProbeContext, actions: Arc<Actions>) {
        self.state.lock().queued += 1;
        // The workers hold the other end for as long as `self` lives.
        let _ = self.jobs.send(Job { id, probe, actions });
    }

    /// Readable when there are completions.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.completions.as_fd()
    }

    /// The completions that have come in. Never blocks.
    pub fn completions(&self) -> Vec<Completion> {
        self.completions.take()
    }

    /// Lets the responses that are running end by themselves, for at most
    /// `patience`; then ends their commands, which takes a little more than a
    /// second at most. Gives all completions, and how many responses were not begun
    /// and not ended in time.
    pub fn finish(self, patience: Duration) -> (Vec<Completion>, Unfinished) {
        let mut load = self.state.lock();
        load.closing = true;
        let not_started = load.queued;
        drop(self.jobs);
        let load = self.state.wait_idle(load, patience);
        let not_finished = load.running;
        self.stop.set();
        let load = self.state.wait_idle(load, GRACE + GRACE);
        let idle = load.running == 0;
        drop(load);
        if idle {
            for worker in self.workers {
                let _ = worker.join();
            }
        }
        (self.completions.take(), Unfinished { not_started, not_finished })
    }
}

/// Responses that [`WorkerPool::finish`] gave up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Still in the queue.
    pub not_started: usize,
    /// Still running, and ended.
    pub not_finished: usize,
}

struct Worker {
    queue: Arc<Mutex<Receiver<Job>>>,
    completions: Arc<WakeQueue<Completion>>,
    stop: Arc<Wake>,
    state: Arc<Shared>,
    tell: Arc<dyn Fn(Report) + Send + Sync>,
}

impl Worker {
    fn run(self) {
        while let Some(job) = self.next() {
            let mut tell = |report| (self.tell)(report);
            let outcome = job.actions.respond(job.probe, self.stop.as_fd(), &mut tell);
            // The order matters: whoever sees the response ended finds its completion.
            self.completions.push(Completion { id: job.id, outcome });
            self.state.lock().running -= 1;
            self.state.changed.notify_all();
        }
    }

    fn next(&self) -> Option<Job> {
        let job = self.queue.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()?;
        let mut load = self.state.lock();
        if load.closing {
            return None;
        }
        load.queued -= 1;
        load.running += 1;
        Some(job)
    }
}
