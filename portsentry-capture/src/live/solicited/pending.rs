//! Which datagrams answer what this host has asked.
//!
//! An answer comes from the very address and port that was asked, to the one
//! that asked, and not much later; that it comes from port 53 means nothing, as
//! everybody can send from there. What was asked of a group or by broadcast is
//! answered by whoever feels addressed, from any port (RFC 6762 section 6.7).
//!
//! A host sends more than queries from a port: what a service there replies is
//! no query, or whoever has got a reply could make this host remember him. So
//! who spoke first is remembered too, by the time stamps of the packets, since
//! what comes in is read later than what goes out.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portsentry_core::{Instant, Timestamp};

use super::exchange::{Exchange, Exchanges};

/// How long an answer is waited for after the last query. Stateful firewalls
/// wait as long (`nf_conntrack_udp_timeout` of Linux), and resolvers at most
/// (`resolv.conf(5)`, `timeout`).
const LIFETIME: Duration = Duration::from_secs(30);

/// Queries that are remembered: 2 MiB of them. Only this host itself fills that.
const QUERIES: usize = 1 << 15;

/// Datagrams from others that are remembered, 256 KiB. Those who send more
/// make replies look like queries, which makes room for no probe but one from
/// where the reply went.
const HEARD: usize = 1 << 12;

/// What this host has asked, and what it has heard without asking.
#[derive(Debug)]
pub(super) struct Asked {
    queries: Exchanges,
    heard: Exchanges,
    /// The last query to a group or by broadcast, if there was one.
    called: Option<Instant>,
    /// Queries that were forgotten before their time.
    pub(super) evicted: u64,
}

impl Asked {
    pub(super) fn new() -> Self {
        Self::with_room_for(QUERIES, HEARD)
    }

    fn with_room_for(queries: usize, heard: usize) -> Self {
        Self {
            queries: Exchanges::new(queries, LIFETIME),
            heard: Exchanges::new(heard, LIFETIME),
            called: None,
            evicted: 0,
        }
    }

    /// This host has sent a datagram at `time`, which is read at `now`; to one
    /// host unless it `is_call`.
    pub(super) fn sent(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        is_call: bool,
        time: Timestamp,
        now: Instant,
    ) {
        // Its own datagram comes in again, and answers nothing.
        if from == to {
            return;
        }
        let exchange = if is_call {
            self.called = Some(now);
            Exchange::with_anybody(from)
        } else {
            Exchange::between(from, to)
        };
        let Some(exchange) = exchange else { return };
        if let Some(query) = self.queries.find(&exchange, now) {
            query.renewed = now;
        } else if self.heard.find(&exchange, now).is_none_or(|heard| heard.began > time) {
            self.evicted += u64::from(self.queries.insert(exchange, time, now));
        }
    }

    /// Whether what came in at `time`, and is read at `now`, answers a query.
    pub(super) fn is_answer(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        time: Timestamp,
        now: Instant,
    ) -> bool {
        let Some(exchange) = Exchange::between(to, from) else { return false };
        match self.queries.find(&exchange, now).map(|query| query.began) {
            Some(began) if began <= time => return true,
            // What was taken for a query is the reply to this.
            Some(_) => self.queries.remove(&exchange),
            None => {}
        }
        if self.answers_call(to, time, now) {
            return true;
        }
        match self.heard.find(&exchange, now) {
            Some(heard) => heard.renewed = now,
            None => drop(self.heard.insert(exchange, time, now)),
        }
        false
    }

    fn answers_call(&mut self, to: SocketAddr, time: Timestamp, now: Instant) -> bool {
        if self.called.is_none_or(|called| now.since(called) > LIFETIME) {
            return false;
        }
        // A host that has no address yet calls without one (RFC 2131 section 4.1).
        let nobody: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let callers = [to, SocketAddr::new(nobody, to.port())];
        callers
            .into_iter()
            .filter_map(Exchange::with_anybody)
            .any(|call| self.queries.find(&call, now).is_some_and(|query| query.began <= time))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    const HOST: &str = "192.0.2.1:4000";
    const RESOLVER: &str = "192.0.2.53:53";

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    /// Time stamps and clock in milliseconds of one clock.
    fn stamp(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis as i64 * 1_000_000)
    }

    fn instant(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn ask(asked: &mut Asked, from: &str, to: &str, is_call: bool, millis: u64) {
        asked.sent(at(from), at(to), is_call, stamp(millis), instant(millis));
    }

    fn answers(asked: &mut Asked, from: &str, to: &str, millis: u64) -> bool {
        asked.is_answer(at(from), at(to), stamp(millis), instant(millis))
    }

    #[test]
    fn only_who_was_asked_answers_and_in_time() {
        let check = |from: &str, to: &str, millis: u64, expected: bool| {
            let mut asked = Asked::with_room_for(64, 64);
            ask(&mut asked, HOST, RESOLVER, false, 1_000);
            assert_eq!(answers(&mut asked, from, to, millis), expected, "{from} {to} {millis}");
        };
        check(RESOLVER, HOST, 1_001, true);
        check(RESOLVER, HOST, 31_000, true);
        check(RESOLVER, HOST, 31_001, false);
        check(RESOLVER, HOST, 999, false);
        check("192.0.2.53:54", HOST, 1_001, false);
        check("192.0.2.54:53", HOST, 1_001, false);
        check(RESOLVER, "192.0.2.1:4001", 1_001, false);
        check(RESOLVER, "192.0.2.2:4000", 1_001, false);
        check(HOST, RESOLVER, 1_001, false);
    }

    #[test]
    fn every_query_is_waited_for_anew_and_every_answer_counts() {
        let mut asked = Asked::with_room_for(64, 64);
        ask(&mut asked, HOST, RESOLVER, false, 0);
        ask(&mut asked, HOST, RESOLVER, false, 20_000);
        assert!(answers(&mut asked, RESOLVER, HOST, 40_000));
        assert!(answers(&mut asked, RESOLVER, HOST, 50_000));
        assert!(!answers(&mut asked, RESOLVER, HOST, 50_001));
    }

    #[test]
    fn a_call_is_answered_by_anybody() {
        let mut asked = Asked::with_room_for(64, 64);
        ask(&mut asked, HOST, "224.0.0.251:5353", true, 0);
        assert!(answers(&mut asked, "192.0.2.7:5353", HOST, 1));
        assert!(answers(&mut asked, "192.0.2.8:1234", HOST, 30_000));
        assert!(!answers(&mut asked, "192.0.2.7:5353", "192.0.2.1:4001", 2));
        assert!(!answers(&mut asked, "192.0.2.7:5353", HOST, 30_001));

        ask(&mut asked, "0.0.0.0:68", "255.255.255.255:67", true, 40_000);
        assert!(answers(&mut asked, "192.0.2.9:67", "192.0.2.1:68", 40_001));
        assert!(!answers(&mut asked, "[fd00::9]:67", "[fd00::1]:68", 40_002));
        ask(&mut asked, "[fe80::1]:546", "[ff02::1:2]:547", true, 50_000);
        assert!(answers(&mut asked, "[fe80::9]:547", "[fe80::1]:546", 50_001));
    }

    #[test]
    fn a_reply_is_no_query() {
        let (service, client) = (HOST, "192.0.2.7:999");
        // Read in the order they were sent in.
        let mut asked = Asked::with_room_for(64, 64);
        assert!(!answers(&mut asked, client, service, 1));
        ask(&mut asked, service, client, false, 2);
        assert!(!answers(&mut asked, client, service, 3));

        // The reply is read first, as what comes in waits in a block.
        let mut asked = Asked::with_room_for(64, 64);
        ask(&mut asked, service, client, false, 2);
        assert!(!asked.is_answer(at(client), at(service), stamp(1), instant(6)));
        assert!(!answers(&mut asked, client, service, 7));
        ask(&mut asked, service, client, false, 8);
        assert!(!answers(&mut asked, client, service, 9));

        // Long after, this host may be the first to speak.
        ask(&mut asked, service, client, false, 40_000);
        assert!(answers(&mut asked, client, service, 40_001));
    }

    #[test]
    fn what_comes_back_to_its_sender_answers_nothing() {
        let mut asked = Asked::with_room_for(64, 64);
        ask(&mut asked, "127.0.0.1:7", "127.0.0.1:7", false, 0);
        assert!(!answers(&mut asked, "127.0.0.1:7", "127.0.0.1:7", 1));
    }

    #[test]
    fn a_flood_of_queries_stays_bounded_and_is_counted() {
        let mut asked = Asked::with_room_for(1024, 64);
        let number = 100_000_u32;
        let resolver = |it: u32| SocketAddr::new((0x0a00_0000 + it).to_be_bytes().into(), 53);
        for it in 0..number {
            asked.sent(at(HOST), resolver(it), false, stamp(it.into()), instant(1));
        }
        let known = (0..number)
            .filter(|it| {
                asked.is_answer(resolver(*it), at(HOST), stamp(u64::MAX >> 30), instant(1))
            })
            .count();
        assert_eq!(known, 1024);
        assert_eq!(asked.evicted, u64::from(number) - 1024);
        // Whoever sends to this host makes it forget no query.
        for it in 0..number {
            asked.is_answer(resolver(it), at("192.0.2.1:9"), stamp(it.into()), instant(1));
        }
        assert_eq!(asked.evicted, u64::from(number) - 1024);
    }

    /// What the rules say, with room for everything.
    #[derive(Default)]
    struct Model {
        /// By both ends: when the exchange began and when it was last renewed.
        queries: HashMap<(SocketAddr, SocketAddr), (u64, u64)>,
        heard: HashMap<(SocketAddr, SocketAddr), (u64, u64)>,
    }

    impl Model {
        fn sent(&mut self, from: SocketAddr, to: SocketAddr, sent: u64, now: u64) {
            if from == to {
                return;
            }
            let alive =
                |entry: Option<&(u64, u64)>| entry.filter(|it| now - it.1 <= 30_000).copied();
            let key = (from, to);
            if let Some((began, _)) = alive(self.queries.get(&key)) {
                self.queries.insert(key, (began, now));
            } else if alive(self.heard.get(&key)).is_none_or(|(began, _)| began > sent) {
                self.queries.insert(key, (sent, now));
            }
        }

        fn is_answer(&mut self, from: SocketAddr, to: SocketAddr, came: u64, now: u64) -> bool {
            let alive =
                |entry: Option<&(u64, u64)>| entry.filter(|it| now - it.1 <= 30_000).copied();
            let key = (to, from);
            if let Some((began, _)) = alive(self.queries.get(&key)) {
                if began <= came {
                    return true;
                }
                self.queries.remove(&key);
            }
            let began = alive(self.heard.get(&key)).map_or(came, |(began, _)| began);
            self.heard.insert(key, (began, now));
            false
        }
    }

    proptest! {
        #[test]
        fn as_the_rules_say(
            steps in prop::collection::vec(
                (any::<bool>(), 0_usize..3, 0_usize..3, 0_u64..10,
                    select(vec![0_u64, 1, 10_000, 29_999, 30_000, 30_001])),
                1..60,
            ),
        ) {
            let locals = [HOST, "192.0.2.1:4001", "[fd00::1]:4000"].map(at);
            let remotes = [RESOLVER, HOST, "[fd00::2]:53"].map(at);
            let (mut asked, mut model, mut now) =
                (Asked::with_room_for(4096, 4096), Model::default(), 100);
            for (sent, local, remote, age, pause) in steps {
                now += pause;
                let (local, remote, time) = (locals[local], remotes[remote], now - age);
                if sent {
                    asked.sent(local, remote, false, stamp(time), instant(now));
                    model.sent(local, remote, time, now);
                } else {
                    let found = asked.is_answer(remote, local, stamp(time), instant(now));
                    prop_assert_eq!(found, model.is_answer(remote, local, time, now));
                }
            }
            prop_assert_eq!(asked.evicted, 0);
        }
    }
}
