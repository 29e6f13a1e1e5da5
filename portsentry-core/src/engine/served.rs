//! Ports that local programs serve, or have served until a short time ago.

use core::time::Duration;

use super::suppressed::SUMMARY_INTERVAL;
use super::{Engine, dropped};
use crate::counter_table::Window;
use crate::served_memory::ServedMemory;
use crate::served_ports::{Bound, Sockets};
use crate::{
    Event, Instant, Observation, PortSet, Protocol, Reason, ScanKind, ServedPorts, Verdict,
};

/// The window in which each pair of source and served port gets one line.
const SERVED_LINES: Window = Window::Fixed(SUMMARY_INTERVAL.as_secs() as u32);

/// Age at which a UDP socket counts as a service that is remembered. Most sockets that send a
/// query and wait for its reply are younger, and a resolver opens thousands of them.
const SETTLED: Duration = Duration::from_secs(1);

/// The snapshot of served ports, and the memory of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Served {
    current: ServedPorts,
    memory: ServedMemory,
    /// UDP sockets of a snapshot at least [`SETTLED`] older than the current one.
    settled: Sockets,
    /// UDP sockets that become `settled`, and the time of their snapshot.
    settling: (Sockets, Instant),
    /// Served UDP ports to which other hosts have sent datagrams.
    used: PortSet,
}

impl Served {
    /// Remembers the sockets that are not in `later`, which was taken at `now`.
    ///
    /// The services ended at an unknown time between the snapshots, `now` at the latest.
    fn remember_missing(&mut self, later: &ServedPorts, now: Instant, grace: Duration) {
        self.memory.tidy(now, grace);
        let tcp = self.current.sockets(Protocol::Tcp);
        for (bound, port) in tcp.missing_in(later.sockets(Protocol::Tcp)) {
            self.memory.remember(Protocol::Tcp, bound, port, now);
        }
        let udp = self.current.sockets(Protocol::Udp);
        for (bound, port) in udp.missing_in(later.sockets(Protocol::Udp)) {
            if self.used.contains(port) || self.settled.is_bound(bound, port) {
                self.memory.remember(Protocol::Udp, bound, port, now);
            }
        }
        if now.since(self.settling.1) >= SETTLED {
            let next = (later.sockets(Protocol::Udp).clone(), now);
            self.settled = core::mem::replace(&mut self.settling, next).0;
        }
    }
}

impl Engine {
    /// Forgets the ports whose grace time is over, before it changes.
    pub(super) fn change_served_grace(&mut self, grace: Duration) {
        let old = self.policy.served_grace;
        if grace != old {
            self.served.memory.forget_expired(self.now, old);
        }
    }

    /// Replaces the snapshot of served ports. With
    /// [`Policy::served_grace`](crate::Policy::served_grace), the engine remembers the ports
    /// that are not in it any more, from [`ServedPorts::taken_at`] on: at most 16,384 of each
    /// protocol. UDP ports are remembered only if another host has used them, or if they were
    /// served for about two seconds, because each query of a resolver opens a port.
    pub fn set_served_ports(&mut self, served: ServedPorts) {
        let (now, grace) = (self.now.max(served.taken_at), self.policy.served_grace);
        if !grace.is_zero() {
            self.served.remember_missing(&served, now, grace);
        }
        self.served.current = served;
    }

    /// Returns whether `observation` would be a probe unless the kernel has a socket for it:
    /// a SYN or a datagram to a monitored port that is not known to be served. A caller that
    /// can ask the kernel then calls [`observe_served`](Self::observe_served) or
    /// [`observe`](Self::observe). Takes a few loads.
    pub fn needs_socket_lookup(&self, observation: &Observation, now: Instant) -> bool {
        let Observation { target, target_port, .. } = *observation;
        let protocol = observation.protocol();
        !self.policy.watch_served_ports
            && observation.is_opener()
            && !observation.accepted
            && !is_impossible(observation)
            && self.policy.monitors(protocol, target_port)
            && !self.served.current.serves(protocol, target, target_port)
            && !self.serves_peer(observation, protocol)
            && !self.is_remembered(observation, protocol, now)
    }

    /// Decides about an attempt for which the kernel has a socket, which may be missing in the
    /// snapshot of served ports. The port then counts as served at this address for
    /// [`Policy::served_grace`](crate::Policy::served_grace).
    pub fn observe_served(&mut self, observation: &Observation, now: Instant) -> Verdict {
        self.advance(now);
        let observation = observation.canonical();
        self.remember(&observation);
        self.report_served_port(&observation);
        self.count(dropped(Reason::Served))
    }

    /// Remembers that the port of `observation` is served at its address.
    fn remember(&mut self, observation: &Observation) {
        let Observation { target, target_port, .. } = *observation;
        let (protocol, grace) = (observation.protocol(), self.policy.served_grace);
        if !grace.is_zero() {
            self.served.memory.tidy(self.now, grace);
            self.served.memory.remember(protocol, Bound::Address(target), target_port, self.now);
        }
    }

    /// Returns whether the port is served, or was until a short time ago.
    pub(super) fn is_served(&mut self, observation: &Observation, protocol: Protocol) -> bool {
        let Observation { target, target_port, .. } = *observation;
        if self.served.current.serves(protocol, target, target_port) {
            if protocol == Protocol::Udp {
                self.served.used.insert(target_port);
            }
            return true;
        }
        if observation.accepted {
            self.remember(observation);
            return true;
        }
        self.serves_peer(observation, protocol)
            || self.is_remembered(observation, protocol, self.now) && !is_impossible(observation)
    }

    /// Returns whether a connected UDP socket receives the datagrams of this peer.
    fn serves_peer(&self, observation: &Observation, protocol: Protocol) -> bool {
        let Observation { source, source_port, target, target_port, .. } = *observation;
        protocol == Protocol::Udp
            && self.served.current.is_connected((target, target_port), (source, source_port))
    }

    /// Returns whether the port was served within the grace time.
    fn is_remembered(&self, observation: &Observation, protocol: Protocol, now: Instant) -> bool {
        let Observation { target, target_port, .. } = *observation;
        let grace = self.policy.served_grace;
        self.served.memory.serves(protocol, target, target_port, now, grace)
    }

    pub(super) fn report_served_port(&mut self, observation: &Observation) {
        let hash = self.served_log.hash(observation.source_bits(), observation.target_port);
        let seen = self.served_log.bump(hash, self.now, SERVED_LINES);
        if seen == 1 {
            self.push_event(Event::served_port(observation));
        } else {
            self.suppress_served_port();
        }
    }
}

/// Returns whether no client sends such a segment to open a connection (RFC 9293 section
/// 3.5): anything but a SYN without FIN, URG or PSH.
const fn is_impossible(observation: &Observation) -> bool {
    !matches!(observation.kind(), ScanKind::Syn | ScanKind::Udp | ScanKind::Connect)
}
