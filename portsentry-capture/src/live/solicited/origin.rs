//! Which datagrams this host sends itself, and which it only forwards or bridges.
//!
//! A datagram with a source address of this host may be forged. If this host forwards it, or
//! passes it on as a bridge, it leaves like a datagram of this host. The kernel does not report the
//! difference, but a forwarded datagram arrives before it leaves. So the arrival marks its flow:
//! datagrams of a marked flow are not taken for queries.
//!
//! A datagram of this host may also come back, for example through a veth pair whose other end is
//! a port of a bridge. Its content then equals that of a datagram that left just before, so its
//! flow is not marked. When it leaves a second time, it is not new.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use portsentry_core::Instant;

use super::flow::{FlowTable, UdpFlow};
use super::sent::{Content, Datagram};

/// Time after an arrival in which a datagram may leave: longer than it waits in any queue.
const MARKED: Duration = Duration::from_secs(5);

/// Time in which a datagram of this host may come back.
const ECHO: Duration = Duration::from_secs(1);

/// Capacity of the table of marked flows: 256 KiB. A flood overflows it only if thousands of forged
/// datagrams arrive between the arrival of one and its departure.
const MARKS: usize = 1 << 12;

/// Number of recently sent datagrams that are remembered: 128 KiB.
const RECENT: usize = 1 << 12;

/// Recently seen datagrams.
#[derive(Debug)]
pub(super) struct Origins {
    marked: FlowTable,
    /// Indexed by their hash. If two have the same place, the later one replaces the other.
    recent: Box<[Option<Recent>]>,
    hash: RandomState,
}

/// A datagram that was seen for the first time when it left.
#[derive(Clone, Copy, Debug)]
struct Recent {
    hash: u64,
    at: Instant,
    /// Whether it has arrived too, so that it may leave again.
    came_back: bool,
}

impl Origins {
    /// Creates empty tables.
    pub(super) fn new() -> Self {
        Self {
            marked: FlowTable::new(MARKS, MARKED),
            recent: vec![None; RECENT].into(),
            hash: RandomState::new(),
        }
    }

    /// Handles the arrival of a datagram of `flow` in the name of this host, read at `now`.
    pub(super) fn arrived(&mut self, flow: UdpFlow, datagram: &Datagram, now: Instant) {
        let (hash, slot) = self.slot(&flow, datagram.content);
        if let Some(recent) = slot
            && recent.is(hash, now)
        {
            recent.came_back = true;
        } else if datagram.from.ip().is_unspecified() {
            // Every host without an address has this flow.
            *slot = Some(Recent { hash, at: now, came_back: true });
        } else if let Some(mark) = self.marked.find(&flow, now) {
            mark.renewed = now;
        } else {
            self.marked.insert(flow, datagram.time, now);
        }
    }

    /// Returns whether this host itself sent a datagram of `flow` that left, read at `now`. On
    /// doubt it did not.
    pub(super) fn is_own(&mut self, flow: UdpFlow, datagram: &Datagram, now: Instant) -> bool {
        let is_marked = self.marked.find(&flow, now).is_some();
        let (hash, slot) = self.slot(&flow, datagram.content);
        if let Some(recent) = slot
            && recent.is(hash, now)
        {
            return !recent.came_back;
        }
        if is_marked {
            return false;
        }
        *slot = Some(Recent { hash, at: now, came_back: false });
        true
    }

    fn slot(&mut self, flow: &UdpFlow, content: Content) -> (u64, &mut Option<Recent>) {
        let hash = self.hash.hash_one((flow, content));
        (hash, &mut self.recent[hash as usize % RECENT])
    }
}

impl Recent {
    fn is(&self, hash: u64, now: Instant) -> bool {
        self.hash == hash && now.since(self.at) <= ECHO
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use portsentry_core::Timestamp;

    use super::*;

    const HOST: &str = "192.0.2.1:4000";

    struct Scenario {
        origins: Origins,
        millis: u64,
    }

    impl Scenario {
        fn new() -> Self {
            Self { origins: Origins::new(), millis: 1_000_000 }
        }

        fn pass(&mut self, from: &str, content: u8, is_incoming: bool) -> Option<bool> {
            let [from, to]: [SocketAddr; 2] =
                [from, "192.0.2.9:53"].map(|text| text.parse().unwrap());
            let (content, time) = (Content::of(content), Timestamp::default());
            let datagram = Datagram { from, to, content, time, is_incoming };
            let flow = UdpFlow::between(from, to).unwrap();
            let now = Instant::from_nanos(self.millis * 1_000_000);
            if is_incoming {
                self.origins.arrived(flow, &datagram, now);
                return None;
            }
            Some(self.origins.is_own(flow, &datagram, now))
        }

        fn arrives(&mut self, content: u8) {
            self.pass(HOST, content, true);
        }

        #[track_caller]
        fn leaves(&mut self, content: u8, is_own: bool) {
            assert_eq!(self.pass(HOST, content, false), Some(is_own), "content {content}");
        }
    }

    #[test]
    fn a_datagram_that_arrived_first_is_not_own() {
        let mut scenario = Scenario::new();
        scenario.arrives(1);
        scenario.leaves(1, false);
        // Bridge and port, and a change on the way.
        scenario.leaves(1, false);
        scenario.leaves(2, false);
        assert_eq!(scenario.pass("192.0.2.1:4001", 1, false), Some(true));
        scenario.millis += 5_001;
        scenario.leaves(1, true);
    }

    #[test]
    fn a_datagram_that_left_first_is_own_and_may_come_back() {
        let mut scenario = Scenario::new();
        // A trunk below a VLAN, and a repeated query.
        scenario.leaves(1, true);
        scenario.leaves(1, true);
        for content in 2..10 {
            scenario.leaves(content, true);
            scenario.arrives(content);
            scenario.leaves(content, false);
        }
    }

    #[test]
    fn a_copy_of_an_own_datagram_renews_nothing() {
        let mut scenario = Scenario::new();
        scenario.leaves(1, true);
        for _ in 0..10 {
            scenario.millis += 700;
            scenario.arrives(1);
            scenario.leaves(1, false);
        }
    }

    #[test]
    fn the_content_distinguishes_hosts_without_an_address() {
        let mut scenario = Scenario::new();
        scenario.pass("0.0.0.0:68", 1, true);
        assert_eq!(scenario.pass("0.0.0.0:68", 1, false), Some(false));
        assert_eq!(scenario.pass("0.0.0.0:68", 2, false), Some(true));
    }
}
