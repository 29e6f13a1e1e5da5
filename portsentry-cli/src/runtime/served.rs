//! Ports that local programs serve: a snapshot, and the kernel's answers about single packets.

use std::sync::Arc;
use std::time::Duration;

use portsentry_capture::{LookupStats, SocketLookup, served_ports};
use portsentry_core::{Engine, Instant, Observation, TranslatedPorts};

/// Maximum age of the snapshot of served ports when a packet is decided.
const SERVED_PORTS_AGE: Duration = Duration::from_millis(250);

/// Longest time between two snapshots while no packets arrive. The engine remembers a port from
/// the first snapshot without it, so this is the inaccuracy of `SERVED_GRACE`.
const SERVED_PORTS_INTERVAL: Duration = Duration::from_secs(10);

/// Maximum number of packets per second for which the kernel is asked, in all shards. It takes
/// at most four milliseconds.
const LOOKUPS: usize = 1_000;

/// The engine's knowledge of served ports.
///
/// The snapshot is refreshed while packets arrive, and from time to time without packets. Before
/// a packet counts as a probe, the kernel is asked for its socket, because a service may listen
/// only for a moment.
#[derive(Debug)]
pub(crate) struct ServedPorts {
    /// Whether the engine needs the snapshot.
    wanted: bool,
    /// Time between two snapshots without packets, `None` if they are not needed.
    interval: Option<Duration>,
    taken: Option<Instant>,
    /// Ports that need no socket.
    translated: Arc<[TranslatedPorts]>,
    lookup: SocketLookup,
    /// Whether the last snapshot failed, which was logged.
    fails: bool,
}

impl ServedPorts {
    /// Creates a snapshot for one of `shards` shards, which [`set`](Self::set) enables.
    pub(crate) fn new(shards: usize) -> Self {
        let lookup = SocketLookup::new((LOOKUPS / shards.max(1)) as u32);
        let translated = Arc::default();
        Self { wanted: false, interval: None, taken: None, translated, lookup, fails: false }
    }

    /// Sets the ports that need no socket, and has the next call take a snapshot.
    pub(super) fn set_translated(&mut self, ports: Arc<[TranslatedPorts]>) {
        (self.translated, self.taken) = (ports, None);
    }

    /// Returns the counts of the kernel's answers.
    pub(super) fn lookups(&self) -> LookupStats {
        self.lookup.stats()
    }

    /// Decides about all `observations`, in order. Asks the kernel about those that would be
    /// probes.
    pub(super) fn decide(
        &mut self,
        engine: &mut Engine,
        observations: &[Observation],
        now: Instant,
    ) {
        for observations in observations.chunks(SocketLookup::BATCH) {
            let wanted = observations
                .iter()
                .rev()
                .fold(0, |bits, it| bits << 1 | u64::from(engine.needs_socket_lookup(it, now)));
            let mut found = match wanted {
                0 => 0,
                _ => self.lookup.find(observations, wanted, now),
            };
            let mut rest = observations;
            while found != 0 {
                let (before, after) = rest.split_at(found.trailing_zeros() as usize);
                engine.observe_batch(before, now);
                let Some((served, after)) = after.split_first() else { break };
                engine.observe_served(served, now);
                // Two shifts, because one of 64 bits would overflow.
                found = found >> before.len() >> 1;
                rest = after;
            }
            engine.observe_batch(rest, now);
        }
    }

    /// Sets whether the engine needs snapshots, and for which time it remembers ports
    /// (`SERVED_GRACE`).
    pub(crate) fn set(&mut self, wanted: bool, grace: Duration) {
        let interval = (grace / 10).clamp(SERVED_PORTS_AGE, SERVED_PORTS_INTERVAL);
        (self.wanted, self.interval) = (wanted, (!grace.is_zero()).then_some(interval));
    }

    /// Returns the time at which to take a snapshot even without packets, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        let interval = self.interval.filter(|_| self.wanted)?;
        Some(self.taken.map_or_else(Instant::default, |taken| taken.after(interval)))
    }

    /// Takes a new snapshot if the last one is too old; most calls only compare two numbers.
    pub(super) fn refresh(&mut self, engine: &mut Engine, now: Instant) {
        let fresh = self.taken.is_some_and(|taken| now.since(taken) < SERVED_PORTS_AGE);
        if fresh || !self.wanted {
            return;
        }
        self.taken = Some(now);
        match served_ports() {
            Ok(served) => {
                let served = served.with_translated(&*self.translated);
                engine.set_served_ports(served.taken_at(now));
                if std::mem::take(&mut self.fails) {
                    log::warn!("can read the socket tables again");
                }
            }
            // Logged once, not four times a second.
            Err(error) if !std::mem::replace(&mut self.fails, true) => {
                log::warn!(
                    "cannot read the socket tables, using the last snapshot of served ports: {error}"
                );
            }
            Err(_) => {}
        }
    }
}
