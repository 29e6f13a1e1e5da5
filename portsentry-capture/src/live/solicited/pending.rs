//! Queries of this host that wait for replies, and which datagrams reply to them.
//!
//! A reply comes from exactly the address and port that the query went to, arrives at the
//! port that sent it, and is not much later. Source port 53 proves nothing, because anyone
//! can send from it. Any host may reply, from any port, to a query that went to a multicast
//! group or a broadcast address (RFC 6762 section 6.7).
//!
//! A DHCP client renews its lease with a query to its server, but the server may have several
//! addresses, and a relay may forward the reply. So any host may reply to a DHCP query, from the
//! port of DHCP servers.
//!
//! A host sends more than queries from a port. A service there sends replies, and these must
//! not count as queries: otherwise the peer of a service could make this host treat its later
//! probes as solicited. So the table also remembers which side sent first. The time stamps of
//! the packets decide that, because inbound packets are read later than outbound ones.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use portsentry_core::{Instant, Timestamp};

use super::flow::{FlowTable, UdpFlow};

/// Time in which replies to a query are solicited, after it was last sent. Stateful firewalls
/// wait as long (`nf_conntrack_udp_timeout` of Linux), and resolvers at most as long
/// (`resolv.conf(5)`, `timeout`).
const LIFETIME: Duration = Duration::from_secs(30);

/// Capacity of the query table: 2 MiB. Only this host itself can fill it.
const QUERIES: usize = 1 << 15;

/// Capacity of the table of inbound flows: 256 KiB. Peers that overflow it make replies of
/// this host look like queries. That exempts only later datagrams from the address and port
/// that the reply went to.
const INBOUND: usize = 1 << 12;

/// Flows that this host started, and flows that a peer started.
#[derive(Debug)]
pub(super) struct PendingQueries {
    queries: FlowTable,
    inbound: FlowTable,
    /// Time at which this host last sent a query to which any host may reply.
    last_open_query: Option<Instant>,
    /// Number of queries evicted before their lifetime ended.
    pub(super) evicted: u64,
}

impl PendingQueries {
    /// Creates empty tables.
    pub(super) fn new() -> Self {
        Self::with_capacity(QUERIES, INBOUND)
    }

    fn with_capacity(queries: usize, inbound: usize) -> Self {
        Self {
            queries: FlowTable::new(queries, LIFETIME),
            inbound: FlowTable::new(inbound, LIFETIME),
            last_open_query: None,
            evicted: 0,
        }
    }

    /// Records a datagram that this host sent at `time` and that is read at `now`. Set
    /// `to_group` if it went to a multicast group or a broadcast address.
    pub(super) fn sent(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        to_group: bool,
        time: Timestamp,
        now: Instant,
    ) {
        // The datagram comes back to its own socket and is no reply.
        if from == to {
            return;
        }
        let flow = if to_group {
            self.last_open_query = Some(now);
            UdpFlow::with_any_remote(from)
        } else {
            UdpFlow::between(from, to)
        };
        if let Some(flow) = flow {
            self.record(flow, time, now);
        }
        if !to_group && is_dhcp(from, to) {
            self.last_open_query = Some(now);
            if let Some(flow) = UdpFlow::with_remote_port(from, to.port()) {
                self.record(flow, time, now);
            }
        }
    }

    fn record(&mut self, flow: UdpFlow, time: Timestamp, now: Instant) {
        if let Some(query) = self.queries.find(&flow, now) {
            query.renewed = now;
        } else if self.inbound.find(&flow, now).is_none_or(|inbound| inbound.started > time) {
            self.evicted += u64::from(self.queries.insert(flow, time, now));
        }
    }

    /// Returns whether a datagram that arrived at `time` and is read at `now` replies to a
    /// query. One or two lookups.
    pub(super) fn is_reply(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        time: Timestamp,
        now: Instant,
    ) -> bool {
        let Some(flow) = UdpFlow::between(to, from) else { return false };
        match self.queries.find(&flow, now).map(|query| query.started) {
            Some(started) if started <= time => return true,
            // The recorded query was sent later, so it is the reply to this datagram.
            Some(_) => self.queries.remove(&flow),
            None => {}
        }
        if self.replies_to_open_query(from, to, time, now) {
            return true;
        }
        match self.inbound.find(&flow, now) {
            Some(inbound) => inbound.renewed = now,
            None => drop(self.inbound.insert(flow, time, now)),
        }
        false
    }

    fn replies_to_open_query(
        &mut self,
        from: SocketAddr,
        to: SocketAddr,
        time: Timestamp,
        now: Instant,
    ) -> bool {
        if self.last_open_query.is_none_or(|last| now.since(last) > LIFETIME) {
            return false;
        }
        // A host without an address sends from the unspecified one (RFC 2131 section 4.1).
        let unspecified: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let unspecified = SocketAddr::new(unspecified, to.port());
        let dhcp = is_dhcp(to, from).then(|| UdpFlow::with_remote_port(to, from.port()));
        [UdpFlow::with_any_remote(to), UdpFlow::with_any_remote(unspecified), dhcp.flatten()]
            .into_iter()
            .flatten()
            .any(|flow| self.queries.find(&flow, now).is_some_and(|query| query.started <= time))
    }
}

/// Returns whether a datagram between these ends is from a DHCP client to a server (RFC 2131
/// section 4.1, RFC 8415 section 7.2).
const fn is_dhcp(client: SocketAddr, server: SocketAddr) -> bool {
    let ports = (client.port(), server.port());
    matches!((client.is_ipv4(), ports), (true, (68, 67)) | (false, (546, 547)))
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

    /// Packet time, in milliseconds of the same clock as [`instant`].
    fn stamp(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis as i64 * 1_000_000)
    }

    fn instant(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    fn ask(pending: &mut PendingQueries, from: &str, to: &str, to_group: bool, millis: u64) {
        pending.sent(at(from), at(to), to_group, stamp(millis), instant(millis));
    }

    fn replies(pending: &mut PendingQueries, from: &str, to: &str, millis: u64) -> bool {
        pending.is_reply(at(from), at(to), stamp(millis), instant(millis))
    }

    #[test]
    fn only_the_queried_peer_replies_and_in_time() {
        let check = |from: &str, to: &str, millis: u64, expected: bool| {
            let mut pending = PendingQueries::with_capacity(64, 64);
            ask(&mut pending, HOST, RESOLVER, false, 1_000);
            assert_eq!(replies(&mut pending, from, to, millis), expected, "{from} {to} {millis}");
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
    fn each_query_restarts_the_lifetime_and_any_number_of_replies_passes() {
        let mut pending = PendingQueries::with_capacity(64, 64);
        ask(&mut pending, HOST, RESOLVER, false, 0);
        ask(&mut pending, HOST, RESOLVER, false, 20_000);
        assert!(replies(&mut pending, RESOLVER, HOST, 40_000));
        assert!(replies(&mut pending, RESOLVER, HOST, 50_000));
        assert!(!replies(&mut pending, RESOLVER, HOST, 50_001));
    }

    #[test]
    fn any_host_may_reply_to_a_group_query() {
        let mut pending = PendingQueries::with_capacity(64, 64);
        ask(&mut pending, HOST, "224.0.0.251:5353", true, 0);
        assert!(replies(&mut pending, "192.0.2.7:5353", HOST, 1));
        assert!(replies(&mut pending, "192.0.2.8:1234", HOST, 30_000));
        assert!(!replies(&mut pending, "192.0.2.7:5353", "192.0.2.1:4001", 2));
        assert!(!replies(&mut pending, "192.0.2.7:5353", HOST, 30_001));

        ask(&mut pending, "0.0.0.0:68", "255.255.255.255:67", true, 40_000);
        assert!(replies(&mut pending, "192.0.2.9:67", "192.0.2.1:68", 40_001));
        assert!(!replies(&mut pending, "[fd00::9]:67", "[fd00::1]:68", 40_002));
        ask(&mut pending, "[fe80::1]:546", "[ff02::1:2]:547", true, 50_000);
        assert!(replies(&mut pending, "[fe80::9]:547", "[fe80::1]:546", 50_001));
    }

    #[test]
    fn any_dhcp_server_may_reply_to_a_renewal() {
        for (client, server, other) in [
            ("192.0.2.1:68", "192.0.2.67:67", "198.51.100.7:67"),
            ("[fd00::1]:546", "[fd00::67]:547", "[fe80::7]:547"),
        ] {
            let mut pending = PendingQueries::with_capacity(64, 64);
            assert!(!replies(&mut pending, other, client, 1));
            ask(&mut pending, client, server, false, 1_000);
            let check = |pending: &mut PendingQueries, port: u16, from: u16, expected: bool| {
                let to = SocketAddr::new(at(client).ip(), port);
                let peer = SocketAddr::new(at(other).ip(), from);
                let found = pending.is_reply(peer, to, stamp(1_001), instant(1_001));
                assert_eq!(found, expected, "{peer} to {to}");
            };
            let (own, theirs) = (at(client).port(), at(server).port());
            check(&mut pending, own, theirs, true);
            check(&mut pending, own, theirs + 1, false);
            check(&mut pending, own + 1, theirs, false);
            assert!(replies(&mut pending, server, client, 31_000));
            assert!(!replies(&mut pending, other, client, 31_001));
        }
        // The port alone makes no query of DHCP.
        let mut pending = PendingQueries::with_capacity(64, 64);
        ask(&mut pending, "192.0.2.1:4000", "192.0.2.67:67", false, 0);
        ask(&mut pending, "192.0.2.1:546", "192.0.2.67:547", false, 0);
        assert!(!replies(&mut pending, "192.0.2.7:67", "192.0.2.1:4000", 1));
        assert!(!replies(&mut pending, "192.0.2.7:547", "192.0.2.1:546", 1));
    }

    #[test]
    fn a_reply_of_this_host_is_not_a_query() {
        let (service, client) = (HOST, "192.0.2.7:999");
        // Read in the order of sending.
        let mut pending = PendingQueries::with_capacity(64, 64);
        assert!(!replies(&mut pending, client, service, 1));
        ask(&mut pending, service, client, false, 2);
        assert!(!replies(&mut pending, client, service, 3));

        // The reply is read first, because inbound packets wait in a block.
        let mut pending = PendingQueries::with_capacity(64, 64);
        ask(&mut pending, service, client, false, 2);
        assert!(!pending.is_reply(at(client), at(service), stamp(1), instant(6)));
        assert!(!replies(&mut pending, client, service, 7));
        ask(&mut pending, service, client, false, 8);
        assert!(!replies(&mut pending, client, service, 9));

        // Much later, this host may itself start a flow.
        ask(&mut pending, service, client, false, 40_000);
        assert!(replies(&mut pending, client, service, 40_001));
    }

    #[test]
    fn a_datagram_to_its_own_sender_is_not_a_reply() {
        let mut pending = PendingQueries::with_capacity(64, 64);
        ask(&mut pending, "127.0.0.1:7", "127.0.0.1:7", false, 0);
        assert!(!replies(&mut pending, "127.0.0.1:7", "127.0.0.1:7", 1));
    }

    #[test]
    fn a_flood_of_queries_is_bounded_and_evictions_are_counted() {
        let mut pending = PendingQueries::with_capacity(1024, 64);
        let number = 100_000_u32;
        let resolver = |it: u32| SocketAddr::new((0x0a00_0000 + it).to_be_bytes().into(), 53);
        for it in 0..number {
            pending.sent(at(HOST), resolver(it), false, stamp(it.into()), instant(1));
        }
        let known = (0..number)
            .filter(|it| {
                pending.is_reply(resolver(*it), at(HOST), stamp(u64::MAX >> 30), instant(1))
            })
            .count();
        assert_eq!(known, 1024);
        assert_eq!(pending.evicted, u64::from(number) - 1024);
        // Inbound datagrams evict no query.
        for it in 0..number {
            pending.is_reply(resolver(it), at("192.0.2.1:9"), stamp(it.into()), instant(1));
        }
        assert_eq!(pending.evicted, u64::from(number) - 1024);
    }

    /// A model of the rules without a bound of memory.
    #[derive(Default)]
    struct Model {
        /// Start of each flow and its last renewal, by both ends.
        queries: HashMap<(SocketAddr, SocketAddr), (u64, u64)>,
        inbound: HashMap<(SocketAddr, SocketAddr), (u64, u64)>,
    }

    impl Model {
        fn sent(&mut self, from: SocketAddr, to: SocketAddr, sent: u64, now: u64) {
            if from == to {
                return;
            }
            let alive =
                |entry: Option<&(u64, u64)>| entry.filter(|it| now - it.1 <= 30_000).copied();
            let key = (from, to);
            if let Some((started, _)) = alive(self.queries.get(&key)) {
                self.queries.insert(key, (started, now));
            } else if alive(self.inbound.get(&key)).is_none_or(|(started, _)| started > sent) {
                self.queries.insert(key, (sent, now));
            }
        }

        fn is_reply(&mut self, from: SocketAddr, to: SocketAddr, arrived: u64, now: u64) -> bool {
            let alive =
                |entry: Option<&(u64, u64)>| entry.filter(|it| now - it.1 <= 30_000).copied();
            let key = (to, from);
            if let Some((started, _)) = alive(self.queries.get(&key)) {
                if started <= arrived {
                    return true;
                }
                self.queries.remove(&key);
            }
            let started = alive(self.inbound.get(&key)).map_or(arrived, |(started, _)| started);
            self.inbound.insert(key, (started, now));
            false
        }
    }

    proptest! {
        #[test]
        fn pending_queries_agree_with_the_model(
            steps in prop::collection::vec(
                (any::<bool>(), 0_usize..3, 0_usize..3, 0_u64..10,
                    select(vec![0_u64, 1, 10_000, 29_999, 30_000, 30_001])),
                1..60,
            ),
        ) {
            let locals = [HOST, "192.0.2.1:4001", "[fd00::1]:4000"].map(at);
            let remotes = [RESOLVER, HOST, "[fd00::2]:53"].map(at);
            let (mut pending, mut model, mut now) =
                (PendingQueries::with_capacity(4096, 4096), Model::default(), 100);
            for (sent, local, remote, age, pause) in steps {
                now += pause;
                let (local, remote, time) = (locals[local], remotes[remote], now - age);
                if sent {
                    pending.sent(local, remote, false, stamp(time), instant(now));
                    model.sent(local, remote, time, now);
                } else {
                    let found = pending.is_reply(remote, local, stamp(time), instant(now));
                    prop_assert_eq!(found, model.is_reply(remote, local, time, now));
                }
            }
            prop_assert_eq!(pending.evicted, 0);
        }
    }
}
