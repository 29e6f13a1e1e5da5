//! The fanout groups of all interfaces, shared by the backends of all rings.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use portsentry_core::Observation;
use rustix::net::{AddressFamily, SocketFlags, SocketType, netdevice, socket_with};

use crate::live::bpf::attach_fanout_program;
use crate::live::raw::{RawSensor, explain};
use crate::live::{CaptureOptions, LiveSensor, SourceHash, Watched, packet_socket};
use crate::wake::WakeQueue;
use crate::{Drained, Interface, RingStats, Sensor, SensorError, SensorStats};

/// Maximum number of observations in all queues together, 4 MiB. The buffers of the readers can
/// hold the same number.
const QUEUED: usize = 1 << 15;

/// State that all backends share. It is used when something is opened or closed, and for
/// observations that arrived in the wrong ring.
#[derive(Debug)]
pub(super) struct RingGroups {
    options: CaptureOptions,
    hash: SourceHash,
    /// Observations for each ring that arrived in another one.
    queues: Vec<WakeQueue<Observation>>,
    /// Groups by the index of their interface.
    groups: Mutex<BTreeMap<u32, Group>>,
    /// Counters of members that were opened and never read.
    unread: Mutex<SensorStats>,
}

/// The rings of one interface.
#[derive(Debug)]
struct Group {
    id: u16,
    /// Whether any member is open.
    open: Weak<()>,
    /// Members that are open and not read, by number.
    waiting: Vec<Option<GroupMember>>,
}

/// A sensor that belongs to a group as long as it is open.
#[derive(Debug)]
pub(super) struct GroupMember {
    pub(super) sensor: RawSensor,
    open: Arc<()>,
}

impl RingGroups {
    pub(super) fn new(rings: u16, hash: SourceHash, options: CaptureOptions) -> io::Result<Self> {
        let queues = (0..rings).map(|_| WakeQueue::new()).collect::<io::Result<_>>()?;
        let (groups, unread) = (Mutex::default(), Mutex::default());
        Ok(Self { options, hash, queues, groups, unread })
    }

    pub(super) fn rings(&self) -> u16 {
        self.queues.len() as u16
    }

    pub(super) fn hash(&self) -> SourceHash {
        self.hash
    }

    /// Returns the queue of a ring, `None` for a number that does not exist.
    pub(super) fn queue(&self, ring: usize) -> Option<&WakeQueue<Observation>> {
        self.queues.get(ring)
    }

    /// Returns the ring of this number on `interface`, and opens the whole group if needed.
    pub(super) fn member(
        &self,
        interface: &Interface,
        number: usize,
        watched: &Arc<Watched>,
    ) -> Result<GroupMember, SensorError> {
        let failed = |source| explain(interface, self.options, source);
        let mut groups = lock(&self.groups);
        self.remove_gone(&mut groups);
        let known = groups.get_mut(&interface.index);
        if let Some(member) = known.and_then(|group| group.waiting.get_mut(number)?.take()) {
            return Ok(member);
        }
        let known = groups.get(&interface.index);
        if let Some((id, open)) = known.and_then(|group| Some((group.id, group.open.upgrade()?))) {
            // This member failed, and the others are still open.
            let sensor = RawSensor::open_paused(interface, self.options, self.rings())?;
            if packet_socket::join_fanout(sensor.socket(), id).is_ok() {
                attach_fanout_program(sensor.socket(), &self.hash).map_err(failed)?;
                return Ok(GroupMember { sensor, open });
            }
            // The group belongs to a removed interface that had the same index.
        }
        let mut group = self.create_group(interface, watched)?;
        let member = group.waiting.get_mut(number).and_then(Option::take);
        if let Some(replaced) = groups.insert(interface.index, group) {
            self.close_group(replaced);
        }
        member.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
    }

    /// Keeps a paused member, until the set opens its interface again.
    pub(super) fn keep(&self, interface: u32, number: usize, member: GroupMember) {
        let mut groups = lock(&self.groups);
        // Another interface may have the same index now.
        let group = groups
            .get_mut(&interface)
            .filter(|group| group.open.as_ptr() == Arc::as_ptr(&member.open));
        if let Some(slot) = group.and_then(|group| group.waiting.get_mut(number)) {
            *slot = Some(member);
        }
        self.remove_gone(&mut groups);
    }

    /// Opens all rings of `interface`. None of them receives a packet before the group is
    /// complete.
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
                    let created = packet_socket::create_fanout(sensor.socket(), self.rings());
                    id = Some(created.map_err(failed)?);
                    attach_fanout_program(sensor.socket(), &self.hash).map_err(failed)?;
                }
            }
            waiting.push(Some(GroupMember { sensor, open: Arc::clone(&open) }));
        }
        for member in waiting.iter_mut().flatten() {
            member.sensor.set_watched(Arc::clone(watched));
        }
        Ok(Group { id: id.unwrap_or(0), open: Arc::downgrade(&open), waiting })
    }

    /// Closes waiting members of interfaces that do not exist any more.
    fn remove_gone(&self, groups: &mut BTreeMap<u32, Group>) {
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
            self.close_group(group);
        }
    }

    /// Hands off the observations of the waiting members of `group`, keeps their counters, and
    /// closes them.
    fn close_group(&self, group: Group) {
        for mut member in group.waiting.into_iter().flatten() {
            let mut foreign = vec![Vec::new(); self.queues.len()];
            let mut keep = |it: &Observation| {
                if let Some(foreign) = foreign.get_mut(self.hash.ring(it.source, self.rings())) {
                    foreign.push(*it);
                }
            };
            while let Ok(Drained::More) = member.sensor.drain(1024, &mut keep) {}
            let mut stats = member.sensor.stats();
            stats.rings.merge(&self.hand_off(&mut foreign));
            lock(&self.unread).merge(&stats);
        }
    }

    /// Queues observations for other rings, by ring. Leaves the lists empty.
    pub(super) fn hand_off(&self, foreign: &mut [Vec<Observation>]) -> RingStats {
        let capacity = QUEUED / self.queues.len().max(1);
        let mut stats = RingStats::default();
        for (queue, observations) in self.queues.iter().zip(foreign) {
            let offered = observations.len();
            let lost = queue.push_up_to(capacity, observations);
            stats.handed_on += (offered - lost) as u64;
            stats.lost += lost as u64;
        }
        stats
    }

    /// Returns the counters of members that were closed without being read.
    pub(super) fn unread_stats(&self) -> SensorStats {
        self.remove_gone(&mut lock(&self.groups));
        lock(&self.unread).clone()
    }
}

/// A panic in another thread leaves the protected data consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
