//! Several rings: one packet thread for each, with its own sensors and its own engine.
//!
//! The threads share only the queue of lines. Each source belongs to one thread, so the events of a
//! source are those that a single engine would give. The main thread keeps everything that
//! exists once in the program: signals, the configuration, the responder and `BLOCK_RATE`. It sends
//! commands to the threads, and the threads send their requests for responses back. Neither costs
//! anything while probes are only logged.
//!
//! - An engine requests a response first. If the common limit does not allow it, the main thread
//!   withdraws it (`Engine::refuse`) with the time until which the engine need not ask again.
//! - An outcome goes to the thread of its host, so the numbers of two engines cannot collide.
//! - Caps are divided among the threads. A table is then full when its share is full.
//! - A reload stops all threads between two packets, and lets them continue together.
//! - At the end, every thread reads its remaining packets before any of them stops.
//! - The watchdog is notified only while every thread runs its loop.

#[cfg(test)]
mod tests;
mod thread;

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use portsentry_capture::SourceHash;
use portsentry_capture::clock::monotonic;
use portsentry_capture::reactor::{self, Interest};
use portsentry_capture::wake::WakeQueue;
use portsentry_core::{Policy, Response, ResponseId, TranslatedPorts};
use portsentry_respond::{Answer, Client, Hosts};

use super::sensors::SensorSettings;
use super::shard::{Shard, ShardStats};
use crate::failure::Failure;
use thread::{Command, Notice, Worker};

/// Time that packet threads have to end: the remaining packets take a quarter of a second.
const ENDING: Duration = Duration::from_secs(3);

/// The packet threads, as seen by the main thread.
pub(crate) struct Shards {
    hash: SourceHash,
    /// Workers whose threads were not started yet.
    idle: Vec<Shard>,
    threads: Vec<Thread>,
    notices: Arc<WakeQueue<Notice>>,
    /// Responses that the threads request and that are not handled yet.
    requested: Vec<Response>,
    watching: bool,
}

struct Thread {
    commands: Arc<WakeQueue<Command>>,
    /// `None` once the thread was joined.
    handle: Option<JoinHandle<Result<ShardStats, Failure>>>,
    /// Number of acknowledgements that the thread owes.
    pending_acks: usize,
    ended: bool,
}

impl Shards {
    /// Creates one worker for each ring of `hash`, in order. Starts no thread.
    pub(crate) fn new(shards: Vec<Shard>, hash: SourceHash) -> io::Result<Self> {
        Ok(Self {
            hash,
            idle: shards,
            threads: Vec::new(),
            notices: Arc::new(WakeQueue::new()?),
            requested: Vec::new(),
            watching: false,
        })
    }

    /// Starts the threads. They wait for commands.
    pub(crate) fn start(&mut self) -> io::Result<()> {
        let rings = self.idle.len() as u16;
        for (ring, shard) in self.idle.drain(..).enumerate() {
            let commands = Arc::new(WakeQueue::new()?);
            let worker = Worker {
                shard,
                ring,
                rings,
                hash: self.hash,
                commands: Arc::clone(&commands),
                notices: Arc::clone(&self.notices),
            };
            let name = format!("ring-{ring}");
            let handle = std::thread::Builder::new().name(name).spawn(move || worker.run())?;
            self.threads.push(Thread {
                commands,
                handle: Some(handle),
                pending_acks: 0,
                ended: false,
            });
        }
        Ok(())
    }

    /// Returns a descriptor that is readable when [`poll_once`](Self::poll_once) has something to
    /// do.
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.notices.as_fd()
    }

    /// Lets the threads read packets from now on.
    pub(crate) fn watch(&mut self) {
        if !std::mem::replace(&mut self.watching, true) {
            self.command(|| Command::Watch);
        }
    }

    /// Stops reading until [`watch`](Self::watch): packets wait in the kernel. Waits until the
    /// threads have finished their current batch.
    pub(crate) fn pause(&mut self) {
        self.watching = false;
        self.command(|| Command::Pause);
        self.sync(None);
    }

    /// Asks the responder for the responses that the threads request.
    pub(crate) fn poll_once(&mut self, responder: &mut Client) -> Result<(), Failure> {
        self.listen();
        self.start_responses(responder);
        self.check()
    }

    /// Returns the failure of a thread that has ended; a thread ends early only if it fails.
    fn check(&mut self) -> Result<(), Failure> {
        match self.threads.iter_mut().find(|thread| thread.ended) {
            Some(thread) => thread.join().map(drop),
            None => Ok(()),
        }
    }

    /// Returns whether every thread has run its loop since the last call.
    pub(crate) fn is_responsive(&mut self) -> bool {
        self.listen();
        self.rearm();
        let all = self.threads.iter().all(|thread| thread.pending_acks == 0);
        if all {
            self.request_sync();
        }
        all
    }

    pub(crate) fn set_translated(&mut self, ports: &Arc<[TranslatedPorts]>) {
        self.command(|| Command::SetTranslated(Arc::clone(ports)));
    }

    pub(crate) fn set_policy(&mut self, policy: &Policy) {
        self.command(|| Command::SetPolicy(Box::new(policy.clone())));
    }

    /// Waits until the settings are applied, because the filters in the kernel change with them.
    pub(crate) fn set_settings(&mut self, settings: SensorSettings) {
        let settings = Arc::new(settings);
        self.command(|| Command::SetSettings(Arc::clone(&settings)));
        self.sync(None);
    }

    pub(crate) fn restore_blocked(&self, hosts: Hosts) {
        if !hosts.is_empty() {
            let hosts = Arc::new(hosts);
            self.command(|| Command::Restore(Arc::clone(&hosts)));
        }
    }

    /// Passes the answer of the responder to the thread that requested this response.
    pub(crate) fn handle_answer(&self, id: ResponseId, answer: Answer) {
        self.command_owner(id, Command::Answer(id, answer));
    }

    /// Has every thread read all earlier packets before any thread ends, because a thread may still
    /// hand packets to another.
    pub(crate) fn drain_remaining(&mut self, responder: &mut Client) {
        for command in [|| Command::DrainRemaining, || Command::PollOnce] {
            self.command(command);
            // `close` reports a thread that does not answer.
            self.sync(Some(ENDING));
        }
        self.start_responses(responder);
    }

    /// Ends the threads. Returns the totals of each thread, and the number of threads that do not
    /// answer.
    pub(crate) fn close(mut self) -> (Vec<ShardStats>, usize) {
        self.command(|| Command::Close);
        let until = monotonic().after(ENDING);
        while self.threads.iter().any(|thread| !thread.ended) && monotonic() < until {
            self.wait(until.since(monotonic()));
            self.listen();
        }
        let mut stats = Vec::new();
        let mut unresponsive = 0;
        for thread in &mut self.threads {
            match thread.ended.then(|| thread.join()) {
                Some(Ok(account)) => stats.extend(account),
                Some(Err(failure)) => log::error!("a packet thread failed: {failure}"),
                None => unresponsive += 1,
            }
        }
        (stats, unresponsive)
    }

    /// Reads the notices of the threads.
    fn listen(&mut self) {
        for notice in self.notices.take() {
            match notice {
                Notice::Respond(response) => self.requested.push(response),
                Notice::Synced(ring) => {
                    if let Some(thread) = self.threads.get_mut(ring) {
                        thread.pending_acks = thread.pending_acks.saturating_sub(1);
                    }
                }
                Notice::Ended(ring) => {
                    if let Some(thread) = self.threads.get_mut(ring) {
                        (thread.ended, thread.pending_acks) = (true, 0);
                    }
                }
            }
        }
    }

    fn start_responses(&mut self, responder: &mut Client) {
        for response in self.requested.drain(..) {
            responder.respond(&response);
        }
    }

    fn command(&self, command: impl Fn() -> Command) {
        self.threads.iter().for_each(|thread| thread.commands.push(command()));
    }

    fn command_owner(&self, id: ResponseId, command: Command) {
        // Each engine numbers its responses so that the remainder names the engine.
        let owner = id.as_u64() % self.threads.len().max(1) as u64;
        if let Some(thread) = self.threads.get(owner as usize) {
            thread.commands.push(command);
        }
    }

    fn request_sync(&mut self) {
        for thread in self.threads.iter_mut().filter(|thread| !thread.ended) {
            thread.commands.push(Command::Sync);
            thread.pending_acks += 1;
        }
    }

    /// Waits until all running threads have carried out all commands, for `limit` at most. Without
    /// a limit, a thread that hangs blocks this call; the watchdog of the service manager then
    /// expires.
    fn sync(&mut self, limit: Option<Duration>) {
        self.request_sync();
        let until = limit.map(|limit| monotonic().after(limit));
        loop {
            self.listen();
            let left = until.map_or(ENDING, |until| until.since(monotonic()));
            if self.threads.iter().all(|thread| thread.pending_acks == 0) || left.is_zero() {
                return self.rearm();
            }
            self.wait(left);
        }
    }

    /// Keeps [`descriptor`](Self::descriptor) readable if a notice is left for
    /// [`poll_once`](Self::poll_once), because other readers of the notices do not handle it.
    fn rearm(&self) {
        let failed = self.threads.iter().any(|thread| thread.ended && thread.handle.is_some());
        if failed || !self.requested.is_empty() {
            self.notices.wake();
        }
    }

    /// Waits for notices.
    fn wait(&self, limit: Duration) {
        // The callers check the time again, so the result is not needed.
        let _ = reactor::wait([Some(Interest::readable(self.descriptor()))], Some(limit));
    }
}

impl Thread {
    /// Returns the result of the thread, once. The thread has ended, so this does not wait.
    fn join(&mut self) -> Result<Option<ShardStats>, Failure> {
        match self.handle.take().map(JoinHandle::join) {
            None => Ok(None),
            Some(Ok(result)) => result.map(Some),
            // The panic continues in this thread: the process must not run on with some sources
            // unwatched.
            Some(Err(panic)) => std::panic::resume_unwind(panic),
        }
    }
}
