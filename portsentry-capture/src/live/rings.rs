//! Several rings for each interface, so that several threads can read and decide. The kernel
//! distributes packets over the rings by source address.
//!
//! Each thread has a [`RingBackend`], and with it a [`SensorSet`](super::SensorSet) that returns
//! the observations of one part of the sources. The rings of an interface are one fanout group
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
//! and an observation of another ring is [handed over](handoff::Handoff) before duplicates and
//! solicited replies are recognised. That is bounded, counted, and costs one lock for each batch in
//! which it happens, usually none.
//!
//! Some state exists once per ring. Any host may reply to a query that was sent to a group, so each
//! ring reads all queries of this host, and has a table of 2 MiB for them. Each ring also has its
//! own snapshot of served ports and its own ignore list.

mod groups;
mod handoff;

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use portsentry_core::Observation;

use self::groups::{GroupMember, RingGroups};
use self::handoff::Handoff;
use super::raw::{RawSensor, one};
use super::{CaptureOptions, LiveBackend, LiveSensor, SourceHash, Watched};
use crate::{Drained, Interface, RingStats, Sensor, SensorError, SensorStats};

/// Opens the sensors of one of several rings.
///
/// A [`SourceHash`] assigns each source to a ring, and only the sensors of backend `i` hand out
/// the sources of ring `i`. All backends of [`several`](Self::several) must be used, each by a
/// separate set for the same interfaces, and every set must be drained.
#[derive(Debug)]
pub struct RingBackend {
    ring: usize,
    groups: Arc<RingGroups>,
}

impl RingBackend {
    /// Creates the backends of `rings` rings, at least 1. The rings of an interface share the
    /// buffer size of `options`, with a minimum of 256 KiB each, and the memory for fragments.
    ///
    /// # Errors
    ///
    /// If the process or the system has no descriptor left.
    pub fn several(rings: u16, hash: SourceHash, options: CaptureOptions) -> io::Result<Vec<Self>> {
        let rings = rings.max(1);
        let groups = Arc::new(RingGroups::new(rings, hash, options)?);
        let backends = (0..rings.into()).map(|ring| Self { ring, groups: Arc::clone(&groups) });
        Ok(backends.collect())
    }
}

impl LiveBackend for RingBackend {
    /// The first backend that opens an interface opens the rings of all: 1 ms for each.
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        let interface = one(interface)?;
        let mut member = self.groups.member(interface, self.ring, watched)?;
        member.sensor.rename(&interface.name);
        member.sensor.set_watched(Arc::clone(watched));
        Ok(Box::new(RingSensor {
            member,
            number: self.ring,
            interface: interface.index,
            groups: Arc::clone(&self.groups),
            foreign: vec![Vec::new(); self.groups.rings().into()],
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

/// One ring that is being read.
#[derive(Debug)]
struct RingSensor {
    member: GroupMember,
    number: usize,
    /// Index of the interface.
    interface: u32,
    groups: Arc<RingGroups>,
    /// Observations of other rings, by ring.
    foreign: Vec<Vec<Observation>>,
    /// Whether `foreign` contains any observation.
    has_foreign: bool,
    /// Whether the ring cannot be read any more.
    failed: bool,
    stats: RingStats,
}

impl RingSensor {
    /// Calls `read` with a sink that passes on observations of this ring, and hands off the others.
    fn route<T>(
        &mut self,
        sink: &mut dyn FnMut(&Observation),
        read: impl FnOnce(&mut RawSensor, &mut dyn FnMut(&Observation)) -> T,
    ) -> T {
        let Self { member, number, groups, foreign, has_foreign, .. } = self;
        let (hash, rings) = (groups.hash(), groups.rings());
        let result = read(&mut member.sensor, &mut |observation| {
            let owner = hash.ring(observation.source, rings);
            if owner == *number {
                sink(observation);
            } else if let Some(observations) = foreign.get_mut(owner) {
                observations.push(*observation);
                *has_foreign = true;
            }
        });
        if std::mem::take(&mut self.has_foreign) {
            self.stats.merge(&self.groups.hand_off(&mut self.foreign));
        }
        result
    }
}

impl Sensor for RingSensor {
    fn name(&self) -> &str {
        self.member.sensor.name()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.member.sensor.descriptor()
    }

    /// Allocates for observations that arrived in the wrong ring.
    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        let drained = self.route(sink, |sensor, sink| sensor.drain(budget, sink));
        self.failed = drained.is_err();
        drained
    }

    fn stats(&mut self) -> SensorStats {
        SensorStats { rings: self.stats, ..self.member.sensor.stats() }
    }
}

impl LiveSensor for RingSensor {
    fn expire(&mut self, sink: &mut dyn FnMut(&Observation)) -> bool {
        self.route(sink, RawSensor::expire)
    }

    fn set_watched(&mut self, watched: Arc<Watched>) {
        self.member.sensor.set_watched(watched);
    }

    /// Pauses the ring and leaves it in its group as long as the interface exists. A ring that
    /// leaves changes the order of the others, and an interface whose name or addresses change
    /// is opened again.
    fn close(self: Box<Self>) {
        let Self { mut member, number, interface, groups, failed, .. } = *self;
        if !failed && member.sensor.pause(groups.rings()).is_ok() {
            groups.keep(interface, number, member);
        }
    }
}
