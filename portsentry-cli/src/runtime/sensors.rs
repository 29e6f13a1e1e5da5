//! What watches: captures on interfaces, or sockets on the monitored ports.
//!
//! To the sentry they differ in one thing: sockets answer, and the engine's
//! verdict says whom.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use portsentry_capture::{
    ConnectNotice, ConnectOptions, ConnectSensor, ConnectStats, Drained, InterfaceLoss, Reply,
    Sensor, SensorError, SensorSet, SensorStats,
};
use portsentry_core::config::Settings;
use portsentry_core::{Observation, Reason};
use portsentry_report::Importance;

use super::decider::Decider;
use crate::failure::Failure;
use portsentry_output::{LogItem, Queue};

/// What watches.
pub(crate) enum Sensors {
    /// Reads packets and binds nothing.
    Stealth(Box<SensorSet>),
    /// Binds the ports.
    Connect(Box<Listening>),
}

/// Bound sockets, and who hears of them.
pub(crate) struct Listening {
    sensor: ConnectSensor,
    notices: Notices,
}

/// Where a sensor's notices go.
struct Notices {
    queue: Arc<Queue>,
    importance: Importance,
}

impl Sensors {
    /// Listens on the ports of `options`; tells `queue` of each.
    pub(crate) fn listen(
        options: ConnectOptions,
        queue: &Arc<Queue>,
        importance: Importance,
    ) -> Result<Self, Failure> {
        let notices = Notices { queue: Arc::clone(queue), importance };
        let sensor = ConnectSensor::open(options, &mut |notice| notices.tell(notice))?;
        Ok(Self::Connect(Box::new(Listening { sensor, notices })))
    }

    /// Readable when there is something to [`drain`](Self::drain).
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Stealth(set) => set.descriptor(),
            Self::Connect(it) => it.sensor.descriptor(),
        }
    }

    /// Reads about `budget` packets and has each decided about: several at a
    /// time where nobody waits for an answer.
    pub(crate) fn drain(
        &mut self,
        budget: usize,
        decider: &mut Decider<'_>,
    ) -> Result<Drained, SensorError> {
        match self {
            Self::Stealth(set) => {
                let drained = set.drain(budget, &mut |observation| decider.hold(observation));
                decider.decide_held();
                drained
            }
            Self::Connect(it) => it.drain(budget, &mut |observation| decider.decide(observation)),
        }
    }

    /// Whether a reload to `settings` would find the room it needs.
    pub(crate) fn make_room(&self, settings: &Settings) -> Result<(), SensorError> {
        match self {
            Self::Stealth(_) => Ok(()),
            Self::Connect(it) => it.sensor.make_room(&settings.tcp_ports, &settings.udp_ports),
        }
    }

    /// Puts ports and banner of `settings` in force.
    pub(crate) fn set_settings(&mut self, settings: &Settings) -> Result<(), SensorError> {
        let (tcp_ports, udp_ports) = (&settings.tcp_ports, &settings.udp_ports);
        match self {
            Self::Stealth(set) => {
                set.set_ports(tcp_ports.clone(), udp_ports.clone());
                Ok(())
            }
            Self::Connect(it) => {
                let Listening { sensor, notices } = &mut **it;
                sensor.set_banner(banner(settings));
                sensor.set_ports(tcp_ports, udp_ports, &mut |notice| notices.tell(notice))
            }
        }
    }

    pub(crate) fn stats(&mut self) -> SensorStats {
        match self {
            Self::Stealth(set) => set.stats(),
            Self::Connect(it) => it.sensor.stats(),
        }
    }

    /// What was lost, by interface.
    pub(crate) fn losses(&mut self) -> Vec<InterfaceLoss> {
        match self {
            Self::Stealth(set) => set.losses(),
            Self::Connect(_) => Vec::new(),
        }
    }

    /// What became of what the sockets took.
    pub(crate) fn answers(&self) -> Option<ConnectStats> {
        match self {
            Self::Stealth(_) => None,
            Self::Connect(it) => Some(it.sensor.answers()),
        }
    }
}

impl Listening {
    fn drain(
        &mut self,
        budget: usize,
        observe: &mut dyn FnMut(&Observation) -> Reason,
    ) -> Result<Drained, SensorError> {
        let drained =
            self.sensor.drain_answering(budget, &mut |observation| reply(observe(observation)))?;
        while let Some(notice) = self.sensor.poll_notice() {
            self.notices.tell(&notice);
        }
        Ok(drained)
    }
}

impl Notices {
    fn tell(&self, notice: &ConnectNotice) {
        if self.importance >= Importance::Verbose || !matches!(notice, ConnectNotice::Bound(_)) {
            self.queue.push(LogItem::Sensor(*notice));
        }
    }
}

/// Whoever is let be, has not done enough yet, or is this host itself gets no
/// banner; that is decided before the banner, and everything else after it.
fn reply(reason: Reason) -> Reply {
    match reason {
        Reason::LogOnly
        | Reason::NeverBlock
        | Reason::AlreadyBlocked
        | Reason::Responding
        | Reason::RetryLater
        | Reason::RateLimited
        | Reason::Overloaded
        | Reason::Triggered
        | Reason::Blocked
        | Reason::ResponseFailed => Reply::Banner,
        _ => Reply::Nothing,
    }
}

/// The bytes of `PORT_BANNER`.
pub(super) fn banner(settings: &Settings) -> Vec<u8> {
    settings.port_banner.clone().unwrap_or_default().into_bytes()
}
