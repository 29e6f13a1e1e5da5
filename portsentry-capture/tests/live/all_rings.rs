//! All rings of an interface as one sensor, so that the tests of other sensors cover them.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portsentry_capture::{
    CaptureOptions, Drained, Interface, LiveBackend, LiveSensor, RingBackend, Sensor, SensorError,
    SensorStats, SourceHash, Watched,
};
use portsentry_core::Observation;
use rustix::event::epoll;

use crate::watch::is_marker;

pub(crate) const RINGS: u16 = 4;

pub(crate) const HASH: SourceHash = SourceHash::new(0x9f3a_c281_55d0_1b7e_44f0_93e1_7c2b_a685);

pub(crate) fn backends(options: CaptureOptions) -> Vec<RingBackend> {
    RingBackend::several(RINGS, HASH, options).expect("backends")
}

/// All rings, as one backend.
#[derive(Debug)]
pub(crate) struct AllRings(pub(crate) Vec<RingBackend>);

impl AllRings {
    pub(crate) fn new(options: CaptureOptions) -> Self {
        Self(backends(options))
    }
}

impl LiveBackend for AllRings {
    fn open(
        &mut self,
        interface: Option<&Interface>,
        watched: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        let rings = self.0.iter_mut().map(|backend| backend.open(interface, watched));
        Ok(Box::new(Together::new(rings.collect::<Result<Vec<_>, _>>()?)))
    }

    fn auxiliary_sensor(&mut self) -> Option<Box<dyn Sensor + Send>> {
        let auxiliary: Vec<_> =
            self.0.iter_mut().filter_map(LiveBackend::auxiliary_sensor).collect();
        Some(Box::new(Together::new(auxiliary)))
    }
}

/// Many times the time for which the kernel may keep the last block of a ring. After the
/// last packet of one source is read, other rings may still contain packets of others.
const LAST_BLOCK: Duration = Duration::from_millis(100);

/// Sensors that are drained one after the other. The marker is returned last.
struct Together<S: ?Sized> {
    sensors: Vec<Box<S>>,
    epoll: OwnedFd,
}

impl<S: Sensor + ?Sized> Together<S> {
    fn new(sensors: Vec<Box<S>>) -> Self {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
        for sensor in &sensors {
            let descriptor = sensor.descriptor().expect("descriptor");
            let data = epoll::EventData::new_u64(0);
            epoll::add(&epoll, descriptor, data, epoll::EventFlags::IN).expect("epoll");
        }
        Self { sensors, epoll }
    }
}

impl<S: Sensor + ?Sized> Sensor for Together<S> {
    fn name(&self) -> &str {
        self.sensors[0].name()
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        let mut marked = None;
        loop {
            let mut result = Drained::Empty;
            for sensor in &mut self.sensors {
                let mut look = |it: &Observation| match is_marker(it) {
                    true => marked = Some((*it, Instant::now())),
                    false => sink(it),
                };
                if sensor.drain(budget, &mut look)? == Drained::More {
                    result = Drained::More;
                }
            }
            match &marked {
                Some((_, at)) if at.elapsed() < LAST_BLOCK => std::thread::yield_now(),
                Some((marker, _)) => {
                    sink(marker);
                    return Ok(result);
                }
                None => return Ok(result),
            }
        }
    }

    fn stats(&mut self) -> SensorStats {
        let mut sum = SensorStats::default();
        self.sensors.iter_mut().for_each(|sensor| sum.merge(&sensor.stats()));
        sum
    }
}

impl LiveSensor for Together<dyn LiveSensor + Send> {
    fn set_watched(&mut self, watched: Arc<Watched>) {
        self.sensors.iter_mut().for_each(|sensor| sensor.set_watched(Arc::clone(&watched)));
    }

    fn expire(&mut self, sink: &mut dyn FnMut(&Observation)) -> bool {
        self.sensors.iter_mut().fold(false, |waiting, sensor| sensor.expire(sink) | waiting)
    }

    fn close(self: Box<Self>) {
        self.sensors.into_iter().for_each(LiveSensor::close);
    }
}
