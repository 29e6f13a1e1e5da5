//! A packet thread: waits for packets of its shard and for commands.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use portsentry_capture::SourceHash;
use portsentry_capture::clock::monotonic;
use portsentry_capture::reactor::{self, Interest};
use portsentry_capture::wake::WakeQueue;
use portsentry_core::{Policy, Response, ResponseId, TranslatedPorts};
use portsentry_respond::{Answer, Hosts};

use crate::failure::Failure;
use crate::runtime::sensors::SensorSettings;
use crate::runtime::shard::{Shard, ShardStats};

/// Commands to a packet thread, which runs them in order.
#[derive(Debug)]
pub(super) enum Command {
    /// Read packets from now on.
    Watch,
    /// Read no packets until [`Command::Watch`].
    Pause,
    /// Acknowledge that all earlier commands are done.
    Sync,
    SetPolicy(Box<Policy>),
    /// Ports that need no socket.
    SetTranslated(Arc<[TranslatedPorts]>),
    SetSettings(Arc<SensorSettings>),
    /// These hosts are blocked already; each thread takes those that belong to it.
    Restore(Arc<Hosts>),
    /// The answer of the responder.
    Answer(ResponseId, Answer),
    /// Read the packets that arrived before the end was requested.
    DrainRemaining,
    /// Read the packets that other threads have handed over meanwhile.
    PollOnce,
    /// Return the totals, and end.
    Close,
}

/// Notices of a packet thread.
#[derive(Debug)]
pub(super) enum Notice {
    Respond(Response),
    /// Acknowledgement of [`Command::Sync`], with the number of the ring.
    Synced(usize),
    /// The thread of this ring has ended.
    Ended(usize),
}

/// Everything that a packet thread owns.
pub(super) struct Worker {
    pub(super) shard: Shard,
    pub(super) ring: usize,
    pub(super) rings: u16,
    pub(super) hash: SourceHash,
    pub(super) commands: Arc<WakeQueue<Command>>,
    pub(super) notices: Arc<WakeQueue<Notice>>,
}

impl Worker {
    /// Runs until [`Command::Close`], or until a sensor fails.
    pub(super) fn run(self) -> Result<ShardStats, Failure> {
        let Self { mut shard, ring, rings, hash, commands, notices } = self;
        let _ending = Ending { ring, notices: Arc::clone(&notices) };
        let owns = |host: &IpAddr| hash.ring(*host, rings) == ring;
        let mut watching = false;
        // Sent immediately, so that each acknowledgement arrives after every earlier response.
        let respond = |response: &Response| notices.push(Notice::Respond(*response));
        loop {
            wait(&shard, &commands, watching)?;
            for command in commands.take() {
                match command {
                    Command::Watch => watching = true,
                    Command::Pause => watching = false,
                    Command::Sync => notices.push(Notice::Synced(ring)),
                    Command::SetTranslated(ports) => shard.set_translated(ports),
                    Command::SetPolicy(policy) => shard.engine.set_policy(*policy),
                    Command::SetSettings(settings) => shard.set_settings(&settings)?,
                    Command::Restore(hosts) => {
                        shard.engine.restore_blocked(hosts.iter().filter(owns));
                    }
                    Command::Answer(id, answer) => shard.handle_answer(id, answer),
                    Command::DrainRemaining => {
                        watching = false;
                        shard.drain_remaining(respond);
                    }
                    // A sensor that fails now has nothing left to report.
                    Command::PollOnce => drop(shard.poll_once(respond)),
                    Command::Close => return Ok(shard.close()),
                }
            }
            if watching {
                shard.poll_once(respond)?;
            }
        }
    }
}

/// Waits for commands, for packets if it is `watching`, or for a timeout.
fn wait(shard: &Shard, commands: &WakeQueue<Command>, watching: bool) -> Result<(), Failure> {
    let sensors = shard.sensors.descriptor().filter(|_| watching);
    let due = shard.due().filter(|_| watching);
    let limit = due.map(|due| due.since(monotonic()));
    reactor::wait(
        [Some(Interest::readable(commands.as_fd())), sensors.map(Interest::readable)],
        limit,
    )
    .map(drop)
    .map_err(Failure::system("cannot wait for packets"))
}

/// Reports the end of the thread, even after a panic.
struct Ending {
    ring: usize,
    notices: Arc<WakeQueue<Notice>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.notices.push(Notice::Ended(self.ring));
    }
}
