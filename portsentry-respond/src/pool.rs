//! The threads that run responses.
//!
//! A thread reports the lines of a response before it returns the outcome. The lines are therefore
//! in the log before the event of the probe, which waits for the outcome.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use portsentry_capture::wake::{Wake, WakeQueue};
use portsentry_core::Outcome;
use portsentry_report::{Prevented, Report};

use crate::actions::Actions;
use crate::actions::command::GRACE;
use crate::probe_context::ProbeContext;

/// Responses that run at the same time; a slow command occupies one of them.
const WORKERS: usize = 8;

/// The end of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Identity of the response, as passed to [`WorkerPool::respond`].
    pub id: u64,
    /// The outcome, or the reason for which the response was prevented.
    pub result: Result<Outcome, Prevented>,
}

/// Checks a response immediately before its first action, on the thread that runs it. An error
/// prevents the response.
pub type Check = Arc<dyn Fn(&ProbeContext) -> Result<(), Prevented> + Send + Sync>;

/// Runs responses on a pool of threads.
///
/// The queue of jobs is not bounded here: the caller has at most
/// [`Limits::responses`](portsentry_core::Limits::responses) responses unfinished.
#[derive(Debug)]
pub struct WorkerPool {
    jobs: Sender<Job>,
    completions: Arc<WakeQueue<Completion>>,
    /// Readable once running commands must end.
    stop: Arc<Wake>,
    state: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

struct Job {
    id: u64,
    probe: ProbeContext,
    actions: Arc<Actions>,
    check: Check,
}

/// State of the workers, for `finish`.
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
    /// Starts the threads. `report` receives everything to log about a response, before its
    /// completion is returned.
    ///
    /// # Errors
    ///
    /// If the system has no thread or descriptor left.
    pub fn start(report: impl Fn(Report) + Send + Sync + 'static) -> io::Result<Self> {
        let report: Arc<dyn Fn(Report) + Send + Sync> = Arc::new(report);
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
                    report: Arc::clone(&report),
                };
                std::thread::Builder::new()
                    .name("responder".to_owned())
                    .stack_size(256 * 1024)
                    .spawn(move || worker.run())
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { jobs, completions, stop, state, workers })
    }

    /// Queues the response `id` to a probe, to be run as `actions` define unless `check` prevents
    /// it. Never blocks.
    pub fn respond(&self, id: u64, probe: ProbeContext, actions: Arc<Actions>, check: Check) {
        self.state.lock().queued += 1;
        // The workers hold the other end while `self` exists.
        let _ = self.jobs.send(Job { id, probe, actions, check });
    }

    /// Returns a descriptor that is readable when there are completions.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.completions.as_fd()
    }

    /// Returns the completions since the last call. Never blocks.
    pub fn completions(&self) -> Vec<Completion> {
        self.completions.take()
    }

    /// Gives running responses at most `patience` to end, then ends their commands, which takes
    /// about a second more. Returns all completions, and how many responses were not started or not
    /// finished in time.
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
    /// Started, but ended early.
    pub not_finished: usize,
}

struct Worker {
    queue: Arc<Mutex<Receiver<Job>>>,
    completions: Arc<WakeQueue<Completion>>,
    stop: Arc<Wake>,
    state: Arc<Shared>,
    report: Arc<dyn Fn(Report) + Send + Sync>,
}

impl Worker {
    fn run(self) {
        while let Some(job) = self.next() {
            let mut report = |it| (self.report)(it);
            let result = (job.check)(&job.probe)
                .map(|()| job.actions.respond(job.probe, self.stop.as_fd(), &mut report));
            // The order matters: a caller that sees no running response must find its completion.
            self.completions.push(Completion { id: job.id, result });
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
