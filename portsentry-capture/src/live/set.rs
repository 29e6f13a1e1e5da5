//! All captures of a selection, as one sensor.
//!
//! The set opens a capture on every selected interface that is ready, and follows the kernel by
//! netlink: interfaces and addresses that appear, disappear or are renamed. If a capture cannot be
//! opened, the set retries a second later, and at each change. The owner only waits for the
//! descriptor of the set and drains it. That descriptor covers captures, kernel notifications and
//! the timer for retries.

mod builder;
mod captures;
mod loopback;
mod open_log;

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use portsentry_core::{NetworkSet, Observation, PortSet};

pub use self::builder::SensorSetBuilder;
use self::captures::{Capture, Captures};
use self::loopback::LoopbackRouting;
use self::open_log::OpenLog;
use super::losses::{self, InterfaceLoss, Ledger, Loss, LossReport};
use super::plan::{Identity, Plan, missing};
use super::suppress::Suppressor;
use super::{LiveBackend, Watched};
use crate::reactor::{EventSet, Ready, Timer, Watch};
use crate::{
    Drained, FragmentLimits, Interface, InterfaceMonitor, Selection, Sensor, SensorError,
    SensorStats,
};

/// Time until more captures are opened, if there were too many for one round.
const SOON: Duration = Duration::from_millis(1);

/// Time until a failed open is retried.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Tokens of the event set; captures have the tokens from `FIRST_CAPTURE`.
const MONITOR: u64 = 0;
const RETRY: u64 = 1;
const LOSSES: u64 = 2;
const QUERIES: u64 = 3;
const AUXILIARY: u64 = 4;
const FIRST_CAPTURE: u64 = 5;

/// Maximum number of captures read in one round.
const ROUND: usize = 64;

/// Maximum number of captures opened between two rounds. The kernel takes 5 to 20 ms for each,
/// and the others are not read meanwhile.
const OPENED_PER_ROUND: usize = 4;

/// The captures of a [`Selection`], as one sensor.
///
/// A packet captured on two interfaces is handed out once. A UDP datagram that replies to a
/// query of this host is counted and not handed out.
pub struct SensorSet {
    selection: Selection,
    backend: Box<dyn LiveBackend + Send>,
    /// See [`LiveBackend::auxiliary_sensor`].
    auxiliary: Option<Box<dyn Sensor + Send>>,
    monitor: InterfaceMonitor,
    loopback: LoopbackRouting,
    retry: Timer,
    events: EventSet,
    captures: Captures,
    watched: Arc<Watched>,
    suppressor: Suppressor,
    losses: LossReport,
    /// Sums of the captures that were closed.
    closed: SensorStats,
    /// Losses of the captures that were closed.
    lost: Ledger,
    open_log: OpenLog,
    /// Names of the watched interfaces.
    name: String,
}

impl SensorSet {
    /// See [`SensorSetBuilder::open`].
    fn open(
        selection: Selection,
        backend: Box<dyn LiveBackend + Send>,
        watched: Watched,
    ) -> Result<Self, SensorError> {
        let mut set = Self::empty(selection, backend, watched).map_err(io_error)?;
        let interfaces = Interface::all().map_err(io_error)?;
        let missing = missing(&set.selection, &interfaces);
        if let Selection::Named(names) = &set.selection
            && missing.len() == names.len()
        {
            let existing: Vec<&str> = interfaces.iter().map(|it| it.name.as_str()).collect();
            let (name, existing) = (names.join(", "), existing.join(", "));
            return Err(SensorError::NoSuchInterface { name, existing });
        }
        for name in missing.into_iter().filter(|_| set.backend.logs_interfaces()) {
            log::warn!("interface {name} does not exist; it is watched as soon as it appears");
        }
        let failures = set.adapt(&interfaces, usize::MAX, &mut |_| ()).map_err(io_error)?;
        let all_failed = set.captures.is_empty();
        for (name, error) in failures {
            let fatal = match error {
                SensorError::MissingPrivilege { .. } => true,
                SensorError::InterfaceGone { .. } => false,
                _ => all_failed || matches!(set.selection, Selection::Named(_)),
            };
            if fatal {
                return Err(error);
            }
            set.log_open_failure(name, &error);
        }
        // Last, because an error names a missing privilege more precisely.
        set.log_query_failure();
        Ok(set)
    }

    fn empty(
        selection: Selection,
        mut backend: Box<dyn LiveBackend + Send>,
        watched: Watched,
    ) -> io::Result<Self> {
        // Before the first snapshot, so that no change is missed in between.
        let monitor = InterfaceMonitor::open()?;
        let (events, retry) = (EventSet::new()?, Timer::new()?);
        let losses = LossReport::new()?;
        let suppressor = Suppressor::new()?;
        let auxiliary = backend.auxiliary_sensor();
        events.add(monitor.as_fd(), MONITOR, Watch::In)?;
        events.add(&retry, RETRY, Watch::In)?;
        events.add(losses.descriptor(), LOSSES, Watch::In)?;
        events.add(suppressor.descriptor(), QUERIES, Watch::In)?;
        if let Some(descriptor) = auxiliary.as_ref().and_then(|it| it.descriptor()) {
            events.add(descriptor, AUXILIARY, Watch::In)?;
        }
        Ok(Self {
            selection,
            backend,
            auxiliary,
            monitor,
            loopback: LoopbackRouting::open(),
            retry,
            events,
            captures: Captures::new(FIRST_CAPTURE),
            watched: Arc::new(watched),
            suppressor,
            losses,
            closed: SensorStats::default(),
            lost: Ledger::default(),
            open_log: OpenLog::default(),
            name: String::new(),
        })
    }

    /// Returns the names of the interfaces that are watched now.
    pub fn watched(&self) -> impl Iterator<Item = &str> {
        self.captures.iter().map(|capture| capture.identity.name.as_str())
    }

    /// Returns the addresses that are watched now, of all interfaces.
    pub fn own_addresses(&self) -> &NetworkSet {
        &self.watched.addresses
    }

    /// Watches only these ports from now on. The kernel filters out packets to other ports as
    /// far as it can. The change loses no packet. Soon after, the set reads the settings
    /// `route_localnet` of the kernel again.
    pub fn set_ports(&mut self, tcp_ports: PortSet, udp_ports: PortSet) {
        self.watch(Watched { tcp_ports, udp_ports, ..Watched::clone(&self.watched) });
        self.log_query_failure();
        // The kernel reports no change of such settings.
        if let Err(error) = self.retry.arm(SOON) {
            log::warn!("cannot read the settings of the kernel's interfaces again: {error}");
        }
    }

    /// Changes the limits of the reassembly of fragments, which the kernel can change at any time.
    pub fn set_fragment_limits(&mut self, fragments: FragmentLimits) {
        self.watch(Watched { fragments, ..Watched::clone(&self.watched) });
    }

    /// Returns the losses of all interfaces that ever lost a packet, sorted by name. One
    /// system call for each capture.
    pub fn losses(&mut self) -> Vec<InterfaceLoss> {
        let mut lost = self.lost.clone();
        for Capture { identity, sensor, .. } in self.captures.iter_mut() {
            lost.add(&identity.name, &sensor.stats());
        }
        lost.into_losses()
    }

    fn watch(&mut self, watched: Watched) {
        // First, so that every query whose reply is captured is known.
        self.suppressor.watch(&watched);
        if watched == *self.watched {
            return;
        }
        self.watched = Arc::new(watched);
        for capture in self.captures.iter_mut() {
            capture.sensor.set_watched(Arc::clone(&self.watched));
        }
    }

    /// Opens and closes captures as `interfaces` require, but opens at most `openings`.
    /// Returns the interfaces that failed to open. Observations that closed captures still
    /// hold go to `sink`.
    fn adapt(
        &mut self,
        interfaces: &[Interface],
        openings: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> io::Result<Vec<(String, SensorError)>> {
        let addresses = Interface::own_addresses(interfaces)?;
        self.suppressor.set_interfaces(interfaces);
        let loopback_from = self.loopback.interfaces(interfaces);
        self.watch(Watched { addresses, loopback_from, ..Watched::clone(&self.watched) });
        let (mut failures, mut postponed) = (Vec::new(), false);
        if self.selection == Selection::Any {
            if self.captures.is_empty()
                && let Err(error) = self.open_capture(None)?
            {
                failures.push(("any".to_owned(), error));
            }
        } else {
            let open = self.captures.identities();
            let plan = Plan::new(&self.selection, interfaces, &open);
            for &position in plan.close.iter().rev() {
                let mut capture = self.captures.remove_at(position);
                let sensor = &mut *capture.sensor;
                while let Ok(Drained::More) = self.suppressor.drain(sensor, 1024, sink) {}
                if self.backend.logs_interfaces() {
                    log::info!("interface {} is gone", capture.identity.name);
                }
                self.close(capture);
            }
            for interface in plan.waiting {
                log::debug!("interface {} is down or has no address; waiting", interface.name);
            }
            postponed = plan.open.len() > openings;
            for interface in plan.open.into_iter().take(openings) {
                if let Err(error) = self.open_capture(Some(interface))? {
                    failures.push((interface.name.clone(), error));
                }
            }
        }
        self.name = self.watched().collect::<Vec<_>>().join(", ");
        match (postponed, failures.is_empty()) {
            (true, _) => self.retry.arm(SOON)?,
            (false, false) => self.retry.arm(RETRY_AFTER)?,
            (false, true) => self.retry.disarm()?,
        }
        Ok(failures)
    }

    fn open_capture(
        &mut self,
        interface: Option<&Interface>,
    ) -> io::Result<Result<(), SensorError>> {
        let sensor = match self.backend.open(interface, &self.watched) {
            Ok(sensor) => sensor,
            Err(error) => return Ok(Err(error)),
        };
        let identity = Identity {
            index: interface.map_or(0, |interface| interface.index),
            name: interface.map_or("any", |interface| &interface.name).to_owned(),
        };
        if self.backend.logs_interfaces() {
            log::info!("watching interface {}", identity.name);
        }
        self.open_log.opened(&identity.name);
        self.captures.add(identity, sensor, &self.events)?;
        Ok(Ok(()))
    }

    /// Closes a capture and keeps its counters.
    fn close(&mut self, mut capture: Capture) {
        if let Some(descriptor) = capture.sensor.descriptor() {
            self.events.remove(descriptor);
        }
        let stats = capture.sensor.stats();
        self.lost.add(&capture.identity.name, &stats);
        self.closed.merge(&stats);
        capture.sensor.close();
    }

    /// Logs why the queries of this host cannot be captured, unless another set does.
    fn log_query_failure(&mut self) {
        if self.backend.logs_interfaces() {
            self.suppressor.log_failure();
        }
    }

    /// Logs why an interface is not watched, unless another set does.
    fn log_open_failure(&mut self, name: String, error: &SensorError) {
        if self.backend.logs_interfaces() {
            self.open_log.failed(name, error);
        }
    }

    /// Reads the kernel's interfaces and adapts to them.
    fn follow(&mut self, sink: &mut dyn FnMut(&Observation)) -> io::Result<()> {
        self.monitor.changed()?;
        let interfaces = Interface::all()?;
        for (name, error) in self.adapt(&interfaces, OPENED_PER_ROUND, sink)? {
            self.log_open_failure(name, &error);
        }
        self.log_query_failure();
        Ok(())
    }

    /// Checks the drop counters, and logs drops when a line is due.
    fn log_losses(&mut self) -> io::Result<()> {
        let losses: Vec<Loss<'_>> = self
            .captures
            .iter_mut()
            .map(|Capture { token, identity, sensor }| {
                let packets = sensor.stats().dropped_by_kernel;
                Loss { capture: *token, interface: &identity.name, packets }
            })
            .collect();
        if let Some(new) = self.losses.checked(Instant::now(), &losses)? {
            log::warn!("{}", losses::line(&new));
        }
        Ok(())
    }

    /// Reads the captures that are ready.
    fn read_captures(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> io::Result<Round> {
        let ready: Ready<ROUND> = self.events.ready()?;
        let share = (budget / ready.count().max(1)).max(1);

        let several = self.captures.len() > 1 || self.selection == Selection::Any;
        self.suppressor.start_round(several);
        let mut round = Round { more: ready.is_full(), ..Round::default() };
        for token in ready.tokens() {
            if token == LOSSES {
                round.losses = true;
            } else if token == QUERIES {
                round.queries = true;
            } else if token == AUXILIARY {
                if let Some(auxiliary) = &mut self.auxiliary {
                    let drained = self.suppressor.drain(&mut **auxiliary, share, sink);
                    round.more |= drained.map_err(io::Error::other)? == Drained::More;
                }
            } else if token < FIRST_CAPTURE {
                round.follow = true;
            } else if let Some(capture) = self.captures.get_mut(token) {
                round.read = true;
                match self.suppressor.drain(&mut *capture.sensor, share, sink) {
                    Ok(Drained::More) => round.more = true,
                    Ok(_) => {}
                    Err(error) => round.failed.push((token, error)),
                }
            }
        }
        Ok(round)
    }
}

/// Result of a round over the captures.
#[derive(Default)]
struct Round {
    /// There may be more to read.
    more: bool,
    /// A capture was read.
    read: bool,
    /// The kernel's interfaces changed, or an open is to be retried.
    follow: bool,
    /// It is time to check the drop counters, and the expiry of fragments.
    losses: bool,
    /// This host sent queries.
    queries: bool,
    /// Captures that cannot be read any more, by token.
    failed: Vec<(u64, SensorError)>,
}

impl Sensor for SensorSet {
    /// Returns the names of the watched interfaces.
    fn name(&self) -> &str {
        &self.name
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.events.as_fd())
    }

    /// Reads the captures that are ready and follows changes of the interfaces. A change
    /// allocates, and takes about 20 ms for each capture that it opens or closes.
    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        let round = self.read_captures(budget, sink).map_err(io_error)?;
        for (token, error) in round.failed {
            if let Some(capture) = self.captures.remove(token) {
                let name = capture.identity.name.clone();
                match error {
                    SensorError::InterfaceGone { .. } => self.log_open_failure(name, &error),
                    // Only this set knows of it.
                    _ => self.open_log.failed(name, &error),
                }
                self.close(capture);
                self.retry.arm(RETRY_AFTER).map_err(io_error)?;
            }
        }
        if round.queries {
            self.suppressor.handle_ready().map_err(io_error)?;
        }
        if round.losses {
            self.log_losses().map_err(io_error)?;
            let (mut waiting, suppressor) = (false, &mut self.suppressor);
            for capture in self.captures.iter_mut() {
                waiting |= suppressor.expire(&mut *capture.sensor, sink);
            }
            if waiting {
                self.losses.check_soon().map_err(io_error)?;
            }
        }
        if round.read {
            self.losses.check_soon().map_err(io_error)?;
        }
        if round.follow
            && let Err(error) = self.follow(sink)
        {
            log::warn!("cannot read the kernel's interfaces, retrying in a second: {error}");
            self.retry.arm(RETRY_AFTER).map_err(io_error)?;
        }
        Ok(if round.more { Drained::More } else { Drained::Empty })
    }

    /// Returns the sums over all captures that were ever open.
    fn stats(&mut self) -> SensorStats {
        let mut sum = self.closed.clone();
        self.suppressor.add_stats(&mut sum);
        let open = self.captures.iter_mut().map(|capture| &mut *capture.sensor as &mut dyn Sensor);
        let auxiliary =
            self.auxiliary.iter_mut().map(|auxiliary| &mut **auxiliary as &mut dyn Sensor);
        for sensor in open.chain(auxiliary) {
            sum.merge(&sensor.stats());
        }
        sum
    }
}

impl AsFd for SensorSet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

impl AsRawFd for SensorSet {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl std::fmt::Debug for SensorSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SensorSet")
            .field("selection", &self.selection)
            .field("watched", &self.name)
            .finish_non_exhaustive()
    }
}

fn io_error(source: io::Error) -> SensorError {
    SensorError::Io { name: "network interfaces".to_owned(), source }
}
