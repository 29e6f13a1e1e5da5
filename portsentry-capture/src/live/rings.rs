//! Several rings for each interface, so that several threads can read and decide. The kernel
//! distributes packets over the rings by source address.
//!
//! Each thread has a [`RingBackend`], and with it a [`SensorSet`](super::SensorSet) that returns
//! only the observations of its own sources. The rings of an interface are one fanout group
//! (`packet(7)`, `PACKET_FANOUT`). All fragments of a datagram arrive at one ring, because they
//! have the same source.
//!
//! The kernel selects the member of a group by a hash of the source modulo the number of members.
//! It changes the order of the members when one leaves, and their number while they join. So the
//! whole group is opened before any member receives. A group is full, so that no other process can
//! join it and take packets away (Linux 5.11). A ring stays in its group if its interface is
//! renamed. After one ring of an interface failed and was reopened, the order stays different.
//!
//! Correctness does not depend on that order. The same hash is computed here for each observation,
//! and an observation of another ring is [handed over](handoff::Mailbox) before duplicates and
//! solicited replies are recognised. That is bounded, counted, and costs one lock for each batch in
//! which it happens, usually none.
//!
//! Some state exists once per ring. Any host may reply to a query that was sent to a group, so each
//! ring reads all queries of this host, and has a table of 2 MiB for them. Each ring also has its
//! own snapshot of served ports and its own ignore list.

mod handoff;

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use portsentry_core::Observation;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use self::handoff::{Handoff, Mailbox};
use super::raw::{RawSensor, explain, one};
use super::{CaptureOptions, LiveBackend, LiveSensor, SourceHash, Watched, bpf, packet_socket};
use crate::{Drained, Interface, RingStats, Sensor, SensorError, SensorStats};

/// Opens the sensors of one of several rings.
///
/// Sources are told apart by a [`SourceHash`], and those of ring `i` are handed
/// out by the sensors of backend `i` alone. RingGroups backends of
/// [`several`](Self::several) have to be used, each by a set of its own for the
/// same interfaces, and every set has to be drained.
#[derive(Debug)]
pub struct RingBackend {
    ring: usize,
    groups: Arc<RingGroups>,
}

/// What the backends have in common: asked when something is opened or closed, or
/// came to the wrong ring, and never else.
#[derive(Debug)]
struct RingGroups {
    options: CaptureOptions,
    hash: SourceHash,
    /// One for each ring.
    mailboxes: Vec<Mailbox>,
    /// By the index of their interface.
    groups: Mutex<BTreeMap<u32, Group>>,
    /// Of rings that were opened and never read.
    unread: Mutex<SensorStats>,
}

/// The rings of one interface.
#[derive(Debug)]
struct Group {
    id: u16,
    /// Whether any of them is open.
    open: Weak<()>,
    /// Those that are open and not read, by number.
    waiting: Vec<Option<GroupMember>>,
}

/// A sensor that is a member of a group, as long as it is open.
#[derive(Debug)]
struct GroupMember {
    sensor: RawSensor,
    open: Arc<()>,
}

impl RingBackend {
    /// The backends of so many `rings`, at least 1. The rings of an interface share
    /// the buffer that `options` say, but for 256 KiB that each has at least, and
    /// what may be kept of fragments.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor left.
    pub fn several(rings: u16, hash: SourceHash, options: CaptureOptions) -> io::Result<Vec<Self>> {
        let rings = usize::from(rings.max(1));
        let mailboxes = (0..rings).map(|_| Mailbox::new(rings)).collect::<io::Result<_>>()?;
        let (groups, unread) = (Mutex::default(), Mutex::default());
        let all = Arc::new(RingGroups { options, hash, mailboxes, groups, unread });
        Ok((0..rings).map(|ring| Self { ring, groups: Arc::clone(&all) }).collect())
    }
}

impl LiveBackend for RingBackend {
    /// The first backend that is asked opens the rings of all: 1 ms for each.
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        let interface = one(interface)?;
        let mut ring = self.groups.ring(interface, self.ring, watched)?;
        ring.sensor.rename(&interface.name);
        ring.sensor.set_watched(Arc::clone(watched));
        Ok(Box::new(RingSensor {
            ring,
            number: self.ring,
            interface: interface.index,
            groups: Arc::clone(&self.groups),
            foreign: vec![Vec::new(); self.groups.mailboxes.len()],
            has_foreign: false,
            failed: false,
            stats: RingStats::default(),
        }))
    }

    fn auxiliary_sensor(&mut self) -> Option<Box<dyn Sensor + Send>> {
        Some(Box::new(Handoff::new(self.ring, Arc::clone(&self.groups))))
    }

    fn logs_interfaces(&self) -> bool {
        self.ring == 0
    }
}

impl RingGroups {
    fn rings(&self) -> u16 {
        self.mailboxes.len() as u16
    }

    /// The ring of this number on `interface`.
    fn ring(
        &self,
        interface: &Interface,
        number: usize,
        watched: &Arc<Watched>,
    ) -> Result<GroupMember, SensorError> {
        let failed = |source| explain(interface, self.options, source);
        let mut groups = lock(&self.groups);
        self.forget_gone(&mut groups);
        let known = groups.get_mut(&interface.index);
        if let Some(ring) = known.and_then(|group| group.waiting.get_mut(number)?.take()) {
            return Ok(ring);
        }
        let known = groups.get(&interface.index);
        if let Some((id, open)) = known.and_then(|group| Some((group.id, group.open.upgrade()?))) {
            // This one failed, and the others did not.
            let sensor = RawSensor::open_paused(interface, self.options, self.rings())?;
            if packet_socket::join_fanout(sensor.socket(), id).is_ok() {
                bpf::attach_fanout_program(sensor.socket(), &self.hash).map_err(failed)?;
                return Ok(GroupMember { sensor, open });
            }
            // They belong to an interface of the same index that is gone.
        }
        let mut group = self.create_group(interface, watched)?;
        let ring = group.waiting.get_mut(number).and_then(Option::take);
        if let Some(before) = groups.insert(interface.index, group) {
            self.settle(before);
        }
        ring.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Opens all rings of `interface`, which receive what is `watched` as soon as the
    /// group is whole, and not before.
    fn create_group(
        &self,
        interface: &Interface,
        watched: &Arc<Watched>,
    ) -> Result<Group, SensorError> {
        let failed = |source| explain(interface, self.options, source);
        let open = Arc::new(());
        let (mut id, mut waiting) = (None, Vec::new());
        for _ in 0..self.rings() {
            let sensor = RawSensor::open_paused(interface, self.options, self.rings())?;
            match id {
                Some(id) => packet_socket::join_fanout(sensor.socket(), id).map_err(failed)?,
                None => {
                    let founded = packet_socket::create_fanout(sensor.socket(), self.rings());
                    id = Some(founded.map_err(failed)?);
                    bpf::attach_fanout_program(sensor.socket(), &self.hash).map_err(failed)?;
                }
            }
            waiting.push(Some(GroupMember { sensor, open: Arc::clone(&open) }));
        }
        for ring in waiting.iter_mut().flatten() {
            ring.sensor.set_watched(Arc::clone(watched));
        }
        Ok(Group { id: id.unwrap_or(0), open: Arc::downgrade(&open), waiting })
    }

    /// Closes rings that wait on interfaces that are gone.
    fn forget_gone(&self, groups: &mut BTreeMap<u32, Group>) {
        let flags = SocketFlags::CLOEXEC;
        let Ok(any) = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None) else {
            return;
        };
        let gone: Vec<u32> = groups
            .iter()
            .filter(|(index, group)| {
                group.open.strong_count() == 0 || netdevice::index_to_name(&any, **index).is_err()
            })
            .map(|(index, _)| *index)
            .collect();
        for group in gone.iter().filter_map(|index| groups.remove(index)) {
            self.settle(group);
        }
    }

    /// Hands out what the waiting rings of `group` hold, keeps what they have
    /// counted, and closes them.
    fn settle(&self, group: Group) {
        for mut ring in group.waiting.into_iter().flatten() {
            let mut left = vec![Vec::new(); self.mailboxes.len()];
            let mut keep = |it: &Observation| {
                if let Some(left) = left.get_mut(self.hash.ring(it.source, self.rings())) {
                    left.push(*it);
                }
            };
            while let Ok(Drained::More) = ring.sensor.drain(1024, &mut keep) {}
            let mut stats = ring.sensor.stats();
            stats.rings.merge(&self.hand_on(&mut left));
            lock(&self.unread).merge(&stats);
        }
    }

    /// Hands on what belongs to other rings, by their number; leaves nothing.
    fn hand_on(&self, foreign: &mut [Vec<Observation>]) -> RingStats {
        let mut stats = RingStats::default();
        for (mailbox, observations) in self.mailboxes.iter().zip(foreign) {
            stats.merge(&mailbox.post(observations));
        }
        stats
    }

    /// What rings have counted that were never read, until now.
    fn unread(&self) -> SensorStats {
        self.forget_gone(&mut lock(&self.groups));
        lock(&self.unread).clone()
    }
}

/// One ring, read.
#[derive(Debug)]
struct RingSensor {
    ring: GroupMember,
    number: usize,
    /// The index of its interface.
    interface: u32,
    groups: Arc<RingGroups>,
    /// What belongs to other rings, by their number.
    foreign: Vec<Vec<Observation>>,
    /// Whether there is any.
    has_foreign: bool,
    /// It cannot be read any further.
    failed: bool,
    stats: RingStats,
}

impl Sensor for RingSensor {
    fn name(&self) -> &str {
        self.ring.sensor.name()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.ring.sensor.descriptor()
    }

    /// Allocates for what came to the wrong ring.
    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        let Self { ring, number, groups, foreign, has_foreign, .. } = self;
        let (hash, rings) = (groups.hash, groups.rings());
        let drained = ring.sensor.drain(budget, &mut |observation| {
            let owner = hash.ring(observation.source, rings);
            if owner == *number {
                sink(observation);
            } else if let Some(observations) = foreign.get_mut(owner) {
                observations.push(*observation);
                *has_foreign = true;
            }
        });
        if std::mem::take(&mut self.has_foreign) {
            self.stats.merge(&self.groups.hand_on(&mut self.foreign));
        }
        self.failed = drained.is_err();
        drained
    }

    fn stats(&mut self) -> SensorStats {
        SensorStats { rings: self.stats, ..self.ring.sensor.stats() }
    }
}

impl LiveSensor for RingSensor {
    fn set_watched(&mut self, watched: Arc<Watched>) {
        self.ring.sensor.set_watched(watched);
    }

    /// Stays in its group, deaf, as long as there is the interface: one that leaves
    /// changes the order of the others, and an interface whose name or addresses
    /// change comes back.
    fn close(self: Box<Self>) {
        let Self { mut ring, number, interface, groups: all, failed, .. } = *self;
        if failed || ring.sensor.pause().is_err() {
            return;
        }
        let mut groups = lock(&all.groups);
        let group = groups.get_mut(&interface);
        // Not that of another interface with the same index.
        if let Some(group) = group.filter(|it| it.open.as_ptr() == Arc::as_ptr(&ring.open))
            && let Some(place) = group.waiting.get_mut(number)
        {
            *place = Some(ring);
        }
        all.forget_gone(&mut groups);
    }
}

/// What is behind it is whole, whatever became of another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
