//! All captures of a selection, as one sensor.
//!
//! The set opens a capture on every selected interface that is ready, and follows the kernel by
//! netlink: interfaces and addresses that appear, disappear or are renamed. A capture that failed to
//! open is retried a second later, and at each change. The owner only waits for the descriptor of
//! the set and drains it. Captures, kernel notifications and the timer of the retries are behind
//! that one descriptor.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use portsentry_core::{Networks, Observation, PortSet};
use rustix::event::{Timespec, epoll};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::losses::{self, InterfaceLoss, Ledger, Loss, LossReport};
use super::plan::{Identity, Plan, missing};
use super::suppress::Suppressor;
use super::{LiveBackend, LiveSensor, Watched};
use crate::{Drained, Interface, InterfaceMonitor, Selection, Sensor, SensorError, SensorStats};

/// Disarms a timer; as a time to wait, none.
const NEVER: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const SOON: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
const SECOND: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// What epoll says is ready; captures have the numbers from `FIRST_CAPTURE`.
const MONITOR: u64 = 0;
const RETRY: u64 = 1;
const LOSSES: u64 = 2;
const QUERIES: u64 = 3;
const AUXILIARY: u64 = 4;
const FIRST_CAPTURE: u64 = 5;

/// Captures that are read in one round.
const ROUND: usize = 64;

/// Captures that are opened between two rounds. Each takes 5 to 20 ms in the
/// kernel, and meanwhile the others are not read.
const OPENED_AT_ONCE: usize = 4;

/// The captures of a [`Selection`].
///
/// A packet that is seen on two interfaces is handed out once. A datagram that
/// answers what this host has just asked of its sender, from the port it comes
/// to, is no probe: it is counted and not handed out.
pub struct SensorSet {
    selection: Selection,
    backend: Box<dyn LiveBackend + Send>,
    /// See [`LiveBackend::auxiliary_sensor`].
    auxiliary: Option<Box<dyn Sensor + Send>>,
    monitor: InterfaceMonitor,
    retry: OwnedFd,
    epoll: OwnedFd,
    next_token: u64,
    /// By token, ascending.
    open: Vec<OpenCapture>,
    watched: Arc<Watched>,
    suppressor: Suppressor,
    losses: LossReport,
    /// Sums of the captures that were closed.
    closed: SensorStats,
    /// What those have lost.
    lost: Ledger,
    /// What was last said of an interface that cannot be opened.
    logged: BTreeMap<String, String>,
    name: String,
}

struct OpenCapture {
    token: u64,
    identity: Identity,
    sensor: Box<dyn LiveSensor + Send>,
}

impl SensorSet {
    /// Opens a capture on every interface of `selection` that is ready, for the
    /// network namespace of the calling thread, and watches these ports until
    /// [`set_ports`](Self::set_ports) says which others. What is not ready (missing,
    /// down, without an address) is logged and waited for.
    ///
    /// # Errors
    ///
    /// [`SensorError::MissingPrivilege`]; [`SensorError::NoSuchInterface`] when
    /// no interface of those named exists; whatever hinders a capture on one of
    /// those named, or on all others.
    pub fn open(
        selection: Selection,
        backend: Box<dyn LiveBackend + Send>,
        tcp_ports: PortSet,
        udp_ports: PortSet,
    ) -> Result<Self, SensorError> {
        let watched = Watched { addresses: Networks::default(), tcp_ports, udp_ports };
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
            log::warn!("interface {name} does not exist; it is watched as soon as it does");
        }
        let failures = set.adapt(&interfaces, usize::MAX, &mut |_| ()).map_err(io_error)?;
        let all_failed = set.open.is_empty();
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
        // Not before: if a privilege is missing, the error says which.
        set.log_query_failure();
        Ok(set)
    }

    fn empty(
        selection: Selection,
        mut backend: Box<dyn LiveBackend + Send>,
        watched: Watched,
    ) -> io::Result<Self> {
        // Before the first snapshot is taken, so that no change falls in between.
        let monitor = InterfaceMonitor::open()?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let retry = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        listen(&epoll, monitor.as_fd(), MONITOR)?;
        let losses = LossReport::new()?;
        listen(&epoll, retry.as_fd(), RETRY)?;
        listen(&epoll, losses.descriptor(), LOSSES)?;
        let suppressor = Suppressor::new()?;
        listen(&epoll, suppressor.descriptor(), QUERIES)?;
        let auxiliary = backend.auxiliary_sensor();
        if let Some(descriptor) = auxiliary.as_ref().and_then(|it| it.descriptor()) {
            listen(&epoll, descriptor, AUXILIARY)?;
        }
        Ok(Self {
            selection,
            backend,
            auxiliary,
            monitor,
            retry,
            epoll,
            next_token: FIRST_CAPTURE,
            open: Vec::new(),
            watched: Arc::new(watched),
            suppressor,
            losses,
            closed: SensorStats::default(),
            lost: Ledger::default(),
            logged: BTreeMap::new(),
            name: String::new(),
        })
    }

    /// The names of the interfaces that are watched now.
    pub fn watched(&self) -> impl Iterator<Item = &str> {
        self.open.iter().map(|capture| capture.identity.name.as_str())
    }

    /// The addresses that are watched now, on whatever interface they are.
    pub fn own_addresses(&self) -> &Networks {
        &self.watched.addresses
    }

    /// Watch these ports alone, from now on: what goes to others stays in the
    /// kernel, as far as that can tell. No packet is lost by the change.
    pub fn set_ports(&mut self, tcp_ports: PortSet, udp_ports: PortSet) {
        let addresses = self.watched.addresses.clone();
        self.watch(Watched { addresses, tcp_ports, udp_ports });
        self.log_query_failure();
    }

    /// What the interfaces have lost, those that are gone included, by name; those
    /// that have lost nothing are left out. A system call for each capture.
    pub fn losses(&mut self) -> Vec<InterfaceLoss> {
        let mut lost = self.lost.clone();
        for OpenCapture { identity, sensor, .. } in &mut self.open {
            lost.add(&identity.name, &sensor.stats());
        }
        lost.into_losses()
    }

    fn watch(&mut self, watched: Watched) {
        // First, so that no answer is seen whose query was not.
        self.suppressor.watch(&watched);
        if watched == *self.watched {
            return;
        }
        self.watched = Arc::new(watched);
        for capture in &mut self.open {
            capture.sensor.set_watched(Arc::clone(&self.watched));
        }
    }

    /// Brings captures in line with `interfaces`, of which at most `openings`
    /// are new. Gives what could not be opened; what captures that are closed
    /// still hold goes to `sink`.
    fn adapt(
        &mut self,
        interfaces: &[Interface],
        openings: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> io::Result<Vec<(String, SensorError)>> {
        let addresses = Interface::own_addresses(interfaces);
        self.suppressor.set_interfaces(interfaces);
        self.watch(Watched { addresses, ..Watched::clone(&self.watched) });
        let (mut failures, mut postponed) = (Vec::new(), false);
        if self.selection == Selection::Any {
            if self.open.is_empty()
                && let Err(error) = self.open_capture(None)?
            {
                failures.push(("any".to_owned(), error));
            }
        } else {
            let open: Vec<Identity> = self.open.iter().map(|it| it.identity.clone()).collect();
            let plan = Plan::new(&self.selection, interfaces, &open);
            for &position in plan.close.iter().rev() {
                let mut capture = self.open.remove(position);
                let sensor = &mut *capture.sensor;
                while let Ok(Drained::More) = self.suppressor.drain(sensor, 1024, sink) {}
                if self.backend.logs_interfaces() {
                    log::info!("interface {} is gone", capture.identity.name);
                }
                self.settle(capture);
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
        self.follow_later(match (postponed, failures.is_empty()) {
            (true, _) => SOON,
            (false, false) => SECOND,
            (false, true) => NEVER,
        })?;
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
        let token = self.next_token;
        self.next_token += 1;
        if let Some(descriptor) = sensor.descriptor() {
            listen(&self.epoll, descriptor, token)?;
        }
        let identity = Identity {
            index: interface.map_or(0, |interface| interface.index),
            name: interface.map_or("any", |interface| &interface.name).to_owned(),
        };
        if self.backend.logs_interfaces() {
            log::info!("watching interface {}", identity.name);
        }
        self.logged.remove(&identity.name);
        self.open.push(OpenCapture { token, identity, sensor });
        Ok(Ok(()))
    }

    /// Keeps what a capture that is closed has counted.
    fn settle(&mut self, mut capture: OpenCapture) {
        if let Some(descriptor) = capture.sensor.descriptor() {
            // An error means that it is not listened to, which is what is wanted.
            let _ = epoll::delete(&self.epoll, descriptor);
        }
        let stats = capture.sensor.stats();
        self.lost.add(&capture.identity.name, &stats);
        self.closed.merge(&stats);
        capture.sensor.close();
    }

    /// Says why the queries of this host cannot be seen, unless another set does.
    fn log_query_failure(&mut self) {
        if self.backend.logs_interfaces() {
            self.suppressor.log_failure();
        }
    }

    /// [`log_once`](Self::log_once), unless another set says the same.
    fn log_open_failure(&mut self, name: String, error: &SensorError) {
        if self.backend.logs_interfaces() {
            self.log_once(name, error);
        }
    }

    /// Says why an interface is not watched, once for each reason.
    fn log_once(&mut self, name: String, error: &SensorError) {
        let reason = error.to_string();
        if self.logged.get(&name) != Some(&reason) {
            log::warn!("not watching an interface: {reason}");
            self.logged.insert(name, reason);
        }
    }

    /// Takes a new look at the kernel's interfaces.
    fn follow(&mut self, sink: &mut dyn FnMut(&Observation)) -> io::Result<()> {
        self.monitor.changed()?;
        let interfaces = Interface::all()?;
        for (name, error) in self.adapt(&interfaces, OPENED_AT_ONCE, sink)? {
            self.log_open_failure(name, &error);
        }
        self.log_query_failure();
        Ok(())
    }

    /// Has [`follow`](Self::follow) called again even if nothing changes.
    fn follow_later(&self, when: Timespec) -> io::Result<()> {
        let timer = Itimerspec { it_interval: NEVER, it_value: when };
        timerfd_settime(&self.retry, TimerfdTimerFlags::empty(), &timer)?;
        Ok(())
    }

    /// Looks at what the kernel dropped, and says it.
    fn log_losses(&mut self) -> io::Result<()> {
        let losses: Vec<Loss<'_>> = self
            .open
            .iter_mut()
            .map(|OpenCapture { token, identity, sensor }| {
                let packets = sensor.stats().dropped_by_kernel;
                Loss { capture: *token, interface: &identity.name, packets }
            })
            .collect();
        if let Some(new) = self.losses.looked(Instant::now(), &losses)? {
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
        let (flags, data) = (epoll::EventFlags::empty(), epoll::EventData::new_u64(0));
        let mut events = [epoll::Event { flags, data }; ROUND];
        let ready = epoll::wait(&self.epoll, &mut events, Some(&NEVER))?;
        let ready = events.get(..ready).unwrap_or_default();
        let share = (budget / ready.len().max(1)).max(1);

        let several = self.open.len() > 1 || self.selection == Selection::Any;
        self.suppressor.start_round(several);
        let mut round = Round { more: ready.len() == ROUND, ..Round::default() };
        for event in ready {
            let token = event.data.u64();
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
            } else if let Ok(position) = self.open.binary_search_by_key(&token, |it| it.token)
                && let Some(capture) = self.open.get_mut(position)
            {
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

/// What a round over the captures found.
#[derive(Default)]
struct Round {
    /// Something is left to read.
    more: bool,
    /// A capture was read.
    read: bool,
    /// The kernel's interfaces changed, or it is time to look at them.
    follow: bool,
    /// It is time to look at what was lost.
    losses: bool,
    /// This host has asked something.
    queries: bool,
    /// Captures that cannot be read any further, by token.
    failed: Vec<(u64, SensorError)>,
}

impl Sensor for SensorSet {
    /// The names of the interfaces that are watched now.
    fn name(&self) -> &str {
        &self.name
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.epoll.as_fd())
    }

    /// Reads what is ready and follows changes. A change allocates, and takes
    /// some 20 ms for each capture that it opens or closes.
    fn drain(
        &mut self,
        budget: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        let round = self.read_captures(budget, sink).map_err(io_error)?;
        for (token, error) in round.failed {
            if let Ok(position) = self.open.binary_search_by_key(&token, |it| it.token) {
                let capture = self.open.remove(position);
                let name = capture.identity.name.clone();
                match error {
                    SensorError::InterfaceGone { .. } => self.log_open_failure(name, &error),
                    _ => self.log_once(name, &error),
                }
                self.settle(capture);
                self.follow_later(SECOND).map_err(io_error)?;
            }
        }
        if round.queries {
            self.suppressor.handle_ready().map_err(io_error)?;
        }
        if round.losses {
            self.log_losses().map_err(io_error)?;
        }
        if round.read {
            self.losses.look_soon().map_err(io_error)?;
        }
        if round.follow
            && let Err(error) = self.follow(sink)
        {
            log::warn!("cannot read the kernel's interfaces, trying again: {error}");
            self.follow_later(SECOND).map_err(io_error)?;
        }
        Ok(if round.more { Drained::More } else { Drained::Empty })
    }

    /// The sums over all captures that were ever open.
    fn stats(&mut self) -> SensorStats {
        let mut sum = self.closed.clone();
        self.suppressor.add_stats(&mut sum);
        let open = self.open.iter_mut().map(|capture| &mut *capture.sensor as &mut dyn Sensor);
        let auxiliary =
            self.auxiliary.iter_mut().map(|auxiliary| &mut **auxiliary as &mut dyn Sensor);
        for sensor in open.chain(auxiliary) {
            sum.merge(&sensor.stats());
        }
        sum
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

fn listen(epoll: &OwnedFd, descriptor: BorrowedFd<'_>, token: u64) -> io::Result<()> {
    let data = epoll::EventData::new_u64(token);
    Ok(epoll::add(epoll, descriptor, data, epoll::EventFlags::IN)?)
}

fn io_error(source: io::Error) -> SensorError {
    SensorError::Io { name: "network interfaces".to_owned(), source }
}
