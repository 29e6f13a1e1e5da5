//! A packet thread: it waits for packets of its shard and for commands.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::sync::Arc;

use portsentry_capture::SourceHash;
use portsentry_capture::clock::monotonic;
use portsentry_capture::reactor::{self, Interest};
use portsentry_capture::wake::WakeQueue;
use portsentry_core::config::Settings;
use portsentry_core::{Policy, Response, ResponseId};
use portsentry_respond::{Answer, Hosts};

use crate::failure::Failure;
use crate::runtime::shard::{Shard, ShardStats};

/// What a packet thread is to do. It does it in order.
#[derive(Debug)]
pub(super) enum Command {
    /// Read packets, from now on.
    Watch,
    /// Read none, until told to.
    Pause,
    /// Answer that all commands before were carried out.
    Sync,
    SetPolicy(Box<Policy>),
    /// Ports and banner, and whether served ports are to be known.
    SetSettings(Arc<Settings>, bool),
    /// These were blocked before; each thread knows its own.
    Restore(Arc<Hosts>),
    /// The answer of the responder.
    Answer(ResponseId, Answer),
    /// Read what came before the end was asked for.
    DrainRemaining,
    /// And what others have handed on meanwhile.
    PollOnce,
    /// Tell what there is to tell, and end.
    Close,
}

/// What a packet thread says.
#[derive(Debug)]
pub(super) enum Notice {
    Respond(Response),
    /// To [`Command::Sync`]; the number of its ring.
    Synced(usize),
    /// It has ended.
    Ended(usize),
}

/// All that a packet thread has.
pub(super) struct Worker {
    pub(super) shard: Shard,
    pub(super) ring: usize,
    pub(super) rings: u16,
    pub(super) hash: SourceHash,
    pub(super) commands: Arc<WakeQueue<Command>>,
    pub(super) notices: Arc<WakeQueue<Notice>>,
}

impl Worker {
    /// Until it is told to close, or its sensors break.
    pub(super) fn run(self) -> Result<ShardStats, Failure> {
        let Self { mut shard, ring, rings, hash, commands, notices } = self;
        let _ending = Ending { ring, notices: Arc::clone(&notices) };
        let owns = |host: &IpAddr| hash.ring(*host, rings) == ring;
        let mut watching = false;
        // At once, so that whoever hears an answer has heard of every response before it.
        let respond = |response: &Response| notices.push(Notice::Respond(*response));
        loop {
            wait(&shard, &commands, watching)?;
            for command in commands.take() {
                match command {
                    Command::Watch => watching = true,
                    Command::Pause => watching = false,
                    Command::Sync => notices.push(Notice::Synced(ring)),
                    Command::SetPolicy(policy) => shard.engine.set_policy(*policy),
                    Command::SetSettings(settings, service_check) => {
                        shard.set_settings(&settings, service_check)?;
                    }
                    Command::Restore(hosts) => {
                        shard.engine.restore_blocked(hosts.iter().filter(owns));
                    }
                    Command::Answer(id, answer) => shard.handle_answer(id, answer),
                    Command::DrainRemaining => {
                        watching = false;
                        shard.drain_remaining(respond);
                    }
                    // A sensor that breaks now has nothing more to say.
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

/// Waits for commands, for packets if it is `watching`, or the time of something.
fn wait(shard: &Shard, commands: &WakeQueue<Command>, watching: bool) -> Result<(), Failure> {
    let sensors = shard.sensors.descriptor().filter(|_| watching);
    let due = shard.engine.poll_timeout().filter(|_| watching);
    let limit = due.map(|due| due.since(monotonic()));
    reactor::wait(
        [Some(Interest::readable(commands.as_fd())), sensors.map(Interest::readable)],
        limit,
    )
    .map(drop)
    .map_err(Failure::system("cannot wait for packets"))
}

/// Says that the thread has ended, in whatever way it does.
struct Ending {
    ring: usize,
    notices: Arc<WakeQueue<Notice>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.notices.push(Notice::Ended(self.ring));
    }
}
