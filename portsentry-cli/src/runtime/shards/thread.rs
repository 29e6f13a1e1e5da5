//! A packet thread: it waits for packets of its shard and for orders.

use std::net::IpAddr;
use std::sync::Arc;

use portsentry_capture::SourceHash;
use portsentry_core::config::Settings;
use portsentry_core::{Instant, Outcome, Policy, Response, ResponseId};
use portsentry_respond::Hosts;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::post::Post;
use crate::failure::Failure;
use crate::runtime::shard::{Account, Shard};
use crate::runtime::time::monotonic;

/// What a packet thread is to do. It does it in order.
#[derive(Debug)]
pub(super) enum Order {
    /// Read packets, from now on.
    Watch,
    /// Read none, until told to.
    Pause,
    /// Answer that all orders before were carried out.
    Answer,
    SetPolicy(Box<Policy>),
    /// Ports and banner, and whether served ports are to be known.
    SetSettings(Arc<Settings>, bool),
    /// These were blocked before; each thread knows its own.
    Restore(Arc<Hosts>),
    Outcome(ResponseId, Outcome),
    /// As many as the limit of all allows were begun, until then.
    Refuse(ResponseId, Instant),
    /// Read what came before the end was asked for.
    ReadWhatIsLeft,
    /// And what others have handed on meanwhile.
    ReadOnce,
    /// Tell what there is to tell, and end.
    Close,
}

/// What a packet thread says.
#[derive(Debug)]
pub(super) enum Word {
    Respond(Response),
    /// To [`Order::Answer`]; the number of its ring.
    Answer(usize),
    /// It has ended.
    Ended(usize),
}

/// All that a packet thread has.
pub(super) struct Worker {
    pub(super) shard: Shard,
    pub(super) ring: usize,
    pub(super) rings: u16,
    pub(super) hash: SourceHash,
    pub(super) orders: Arc<Post<Order>>,
    pub(super) words: Arc<Post<Word>>,
}

impl Worker {
    /// Until it is told to close, or its sensors break.
    pub(super) fn run(self) -> Result<Account, Failure> {
        let Self { mut shard, ring, rings, hash, orders, words } = self;
        let _ending = Ending { ring, words: Arc::clone(&words) };
        let owns = |host: &IpAddr| hash.ring(*host, rings) == ring;
        let mut watching = false;
        // At once, so that whoever hears an answer has heard of every response before it.
        let respond = |response: &Response| words.put(Word::Respond(*response));
        loop {
            wait(&shard, &orders, watching)?;
            for order in orders.take() {
                match order {
                    Order::Watch => watching = true,
                    Order::Pause => watching = false,
                    Order::Answer => words.put(Word::Answer(ring)),
                    Order::SetPolicy(policy) => shard.engine.set_policy(*policy),
                    Order::SetSettings(settings, service_check) => {
                        shard.set_settings(&settings, service_check)?;
                    }
                    Order::Restore(hosts) => {
                        shard.engine.restore_blocked(hosts.iter().filter(owns));
                    }
                    Order::Outcome(id, outcome) => {
                        shard.engine.handle_outcome(id, outcome, monotonic());
                    }
                    Order::Refuse(id, until) => shard.engine.refuse(id, until, monotonic()),
                    Order::ReadWhatIsLeft => {
                        watching = false;
                        shard.read_what_is_left(respond);
                    }
                    // A sensor that breaks now has nothing more to say.
                    Order::ReadOnce => drop(shard.turn(respond)),
                    Order::Close => return Ok(shard.close()),
                }
            }
            if watching {
                shard.turn(respond)?;
            }
        }
    }
}

/// Waits for orders, for packets if it is `watching`, or the time of something.
fn wait(shard: &Shard, orders: &Post<Order>, watching: bool) -> Result<(), Failure> {
    let readable = |descriptor| PollFd::from_borrowed_fd(descriptor, PollFlags::IN);
    let sensors = shard.sensors.descriptor().filter(|_| watching);
    let orders = orders.descriptor();
    let mut descriptors = [readable(orders), readable(sensors.unwrap_or(orders))];
    let due = shard.engine.poll_timeout().filter(|_| watching);
    let timeout = due.map(|due| {
        let left = due.since(monotonic());
        Timespec::try_from(left).unwrap_or(Timespec { tv_sec: 60, tv_nsec: 0 })
    });
    match poll(&mut descriptors, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Failure::system("cannot wait for packets")(error)),
    }
}

/// Says that the thread has ended, in whatever way it does.
struct Ending {
    ring: usize,
    words: Arc<Post<Word>>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.words.put(Word::Ended(self.ring));
    }
}
