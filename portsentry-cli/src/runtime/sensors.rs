//! The sensors: captures on interfaces, or sockets on the monitored ports.
//!
//! They differ in one respect for the sentry: sockets reply, and the engine's verdict decides to
//! which source.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use portsentry_capture::{
    ConnectNotice, ConnectOptions, ConnectSensor, ConnectStats, Drained, FragmentLimits,
    InterfaceLoss, Reply, Sensor, SensorError, SensorSet, SensorStats,
};
use portsentry_config::Configuration;
use portsentry_core::{Observation, PortSet, Protocol, Reason};
use portsentry_report::Importance;

use super::decider::Decider;
use crate::failure::Failure;
use portsentry_output::{LogItem, Queue};

/// The settings that a reload applies to the sensors of a shard.
#[derive(Clone, Debug)]
pub(crate) struct SensorSettings {
    pub(crate) tcp_ports: PortSet,
    pub(crate) udp_ports: PortSet,
    /// Bytes of `PORT_BANNER`.
    pub(crate) banner: Vec<u8>,
    /// Whether served ports are needed.
    pub(crate) service_check: bool,
    /// `SERVED_GRACE`.
    pub(crate) served_grace: Duration,
    /// The kernel's limits for fragments.
    pub(crate) fragments: FragmentLimits,
}

impl SensorSettings {
    pub(crate) fn of(configuration: &Configuration, fragments: FragmentLimits) -> Self {
        Self {
            tcp_ports: configuration.ports(Protocol::Tcp),
            udp_ports: configuration.ports(Protocol::Udp),
            banner: configuration.settings.port_banner.clone().unwrap_or_default().into_bytes(),
            service_check: configuration.service_check,
            served_grace: configuration.settings.served_grace,
            fragments,
        }
    }
}

/// The sensor of a shard.
pub(crate) enum Sensors {
    /// Captures packets and binds nothing.
    Stealth(Box<SensorSet>),
    /// Binds the ports.
    Connect(Box<Listening>),
}

/// Bound sockets, and the output of their notices.
pub(crate) struct Listening {
    sensor: ConnectSensor,
    notices: Notices,
}

/// Output of a sensor's notices.
struct Notices {
    queue: Arc<Queue>,
    importance: Importance,
}

impl Sensors {
    /// Listens on the ports of `options`; reports each port to `queue`.
    pub(crate) fn listen(
        options: ConnectOptions,
        queue: &Arc<Queue>,
        importance: Importance,
    ) -> Result<Self, Failure> {
        let notices = Notices { queue: Arc::clone(queue), importance };
        let sensor = ConnectSensor::open(options, &mut |notice| notices.report(notice))?;
        Ok(Self::Connect(Box::new(Listening { sensor, notices })))
    }

    /// Returns a descriptor that is readable when there is something to [`drain`](Self::drain).
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Stealth(set) => set.descriptor(),
            Self::Connect(it) => it.sensor.descriptor(),
        }
    }

    /// Reads about `budget` packets and has each of them decided, several together if no source
    /// waits for a reply.
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

    /// Checks whether a reload to `settings` would find the resources it needs.
    pub(crate) fn make_room(&self, settings: &SensorSettings) -> Result<(), SensorError> {
        match self {
            Self::Stealth(_) => Ok(()),
            Self::Connect(it) => it.sensor.make_room(&settings.tcp_ports, &settings.udp_ports),
        }
    }

    /// Applies the ports and the banner of `settings`.
    pub(crate) fn set_settings(&mut self, settings: &SensorSettings) -> Result<(), SensorError> {
        let SensorSettings { tcp_ports, udp_ports, banner, .. } = settings;
        match self {
            Self::Stealth(set) => {
                set.set_fragment_limits(settings.fragments);
                set.set_ports(tcp_ports.clone(), udp_ports.clone());
                Ok(())
            }
            Self::Connect(it) => {
                let Listening { sensor, notices } = &mut **it;
                sensor.set_banner(banner.clone());
                sensor.set_ports(tcp_ports, udp_ports, &mut |notice| notices.report(notice))
            }
        }
    }

    pub(crate) fn stats(&mut self) -> SensorStats {
        match self {
            Self::Stealth(set) => set.stats(),
            Self::Connect(it) => it.sensor.stats(),
        }
    }

    /// Returns the lost packets, by interface.
    pub(crate) fn losses(&mut self) -> Vec<InterfaceLoss> {
        match self {
            Self::Stealth(set) => set.losses(),
            Self::Connect(_) => Vec::new(),
        }
    }

    /// Returns the outcomes of the connections and datagrams that the sockets accepted.
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
            self.notices.report(&notice);
        }
        Ok(drained)
    }
}

impl Notices {
    fn report(&self, notice: &ConnectNotice) {
        if self.importance >= Importance::Verbose || !matches!(notice, ConnectNotice::Bound(_)) {
            self.queue.push(LogItem::Sensor(*notice));
        }
    }
}

/// Returns whether the source gets the banner. A source that is ignored, has not triggered yet, or
/// is this host gets none. Only this is decided before the banner is sent.
fn reply(reason: Reason) -> Reply {
    match reason {
        Reason::LogOnly
        | Reason::NeverBlock
        | Reason::AlreadyBlocked
        | Reason::Responding
        | Reason::RetryLater
        | Reason::Prevented
        | Reason::RateLimited
        | Reason::Overloaded
        | Reason::Triggered
        | Reason::Blocked
        | Reason::ResponseFailed => Reply::Banner,
        _ => Reply::Nothing,
    }
}
