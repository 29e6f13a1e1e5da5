//! Replies to UDP queries of this host that arrive after the client has closed its socket.
//! Each test creates its own network namespaces.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portsentry_capture::{
    CaptureOptions, Drained, Interface, LiveBackend, LiveSensor, Rejected, Selection, Sensor,
    SensorError, SensorSet, SensorStats, Watched,
};
use portsentry_core::{Observation, PortSet, Timestamp};
use portsentry_testbed::{Namespace, Testbed, require_root};

use crate::watch::{Method, interface, targets, watch_to_marker, with_each_method};

with_each_method! {
    late_replies_are_no_probes,
    no_reply_overtakes_its_query,
    only_the_queried_socket_is_solicited,
    a_fragmented_query_counts_as_a_query,
    replies_to_a_group_may_come_from_any_host,
    replies_of_a_service_do_not_make_its_clients_solicited,
    replies_within_this_host_are_no_probes,
    masqueraded_queries_count_as_own_queries,
    unmonitored_ports_need_no_query_sockets,
}

/// Shorter than the time in which a reply is solicited, and long enough for a loaded machine.
const TIME_LIMIT: Duration = Duration::from_secs(10);

fn open(method: Method, namespace: &Namespace) -> SensorSet {
    open_for(method, namespace, PortSet::all())
}

fn open_for(method: Method, namespace: &Namespace, udp_ports: PortSet) -> SensorSet {
    let selection = Selection::parse(&["ALL"]).expect("selection");
    let backend = method.backend(CaptureOptions::default());
    let tcp_ports = PortSet::all();
    namespace
        .enter(|| {
            SensorSet::builder(selection, backend).tcp_ports(tcp_ports).udp_ports(udp_ports).open()
        })
        .expect("set")
}

/// Returns the addresses of host and scanner, for each family.
fn both_families(bed: &Testbed) -> [(IpAddr, IpAddr); 2] {
    [
        (bed.host.v4().into(), bed.scanner.v4().into()),
        (bed.host.v6().into(), bed.scanner.v6().into()),
    ]
}

fn socket(namespace: &Namespace, at: impl Into<SocketAddr>) -> UdpSocket {
    let at = at.into();
    let socket = namespace.enter(|| UdpSocket::bind(at)).unwrap_or_else(|e| panic!("{at}: {e}"));
    socket.set_read_timeout(Some(TIME_LIMIT)).expect("time-out");
    socket
}

/// Sends one query to `server` and closes the socket; returns the address of the socket.
fn query_and_close(
    namespace: &Namespace,
    from: IpAddr,
    server: SocketAddr,
    question: &[u8],
) -> SocketAddr {
    let client = socket(namespace, (from, 0));
    client.send_to(question, server).expect("query");
    client.local_addr().expect("address")
}

/// Receives a query and returns its source.
#[track_caller]
fn querier(resolver: &UdpSocket) -> SocketAddr {
    let mut question = [0; 8192];
    resolver.recv_from(&mut question).expect("query").1
}

#[track_caller]
fn seen(set: &mut SensorSet, bed: &Testbed, to: IpAddr) -> Vec<(IpAddr, u16)> {
    targets(&bed.host.enter(|| watch_to_marker(set, &bed.scanner, to)))
}

#[track_caller]
fn check_solicited(set: &mut SensorSet, expected: u64) {
    let stats = set.stats();
    assert_eq!(stats.tally.count(Rejected::SolicitedReply), expected, "{stats:?}");
}

fn late_replies_are_no_probes(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut set = open(method, &bed.host);
    let mut answered = 0;
    for (host, scanner) in both_families(&bed) {
        let resolver = socket(&bed.scanner, (scanner, 53));
        let at = resolver.local_addr().expect("address");
        for _ in 0..100 {
            query_and_close(&bed.host, host, at, b"who?");
        }
        let clients: Vec<SocketAddr> = (0..100).map(|_| querier(&resolver)).collect();
        // The server may send a reply twice.
        for client in clients.iter().chain(&clients[..50]) {
            resolver.send_to(b"late", client).expect("reply");
        }
        answered += 150;
        assert_eq!(seen(&mut set, &bed, host), []);
        check_solicited(&mut set, answered);
        // Replies while the set is drained all the time.
        for _ in 0..20 {
            let client = query_and_close(&bed.host, host, at, b"who?");
            assert_eq!(querier(&resolver), client);
            resolver.send_to(b"late", client).expect("reply");
            assert_eq!(seen(&mut set, &bed, host), []);
        }
        answered += 20;
        check_solicited(&mut set, answered);
    }
    let queries = set.stats().queries;
    assert_eq!((queries.seen, queries.evicted, queries.missed), (240, 0, 0));
}

/// Queries and replies arrive while the captures are drained.
fn no_reply_overtakes_its_query(method: Method) {
    const QUERIES: u64 = 2_000;
    /// Few enough for the buffer of the resolver's socket.
    const IN_FLIGHT: u64 = 50;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut set = open(method, &bed.host);
    let resolver = socket(&bed.scanner, (bed.scanner.v4(), 53));
    let at = resolver.local_addr().expect("address");
    let answered = AtomicU64::new(0);
    let seen = thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1..=QUERIES {
                resolver.send_to(b"late", querier(&resolver)).expect("reply");
                answered.store(number, Ordering::Relaxed);
            }
        });
        scope.spawn(|| {
            bed.host.enter(|| {
                for number in 0..QUERIES {
                    while number >= answered.load(Ordering::Relaxed) + IN_FLIGHT {
                        thread::yield_now();
                    }
                    let client = UdpSocket::bind(("0.0.0.0", 0)).expect("bind");
                    client.send_to(b"who?", at).expect("query");
                }
            });
        });
        bed.host.enter(|| {
            let mut seen = Vec::new();
            let deadline = Instant::now() + TIME_LIMIT;
            while set.stats().tally.count(Rejected::SolicitedReply) + (seen.len() as u64) < QUERIES
            {
                assert!(Instant::now() < deadline, "{:?}", set.stats());
                // A small budget makes many rounds.
                set.drain(16, &mut |it| seen.push(*it)).expect("drain");
            }
            seen
        })
    });
    assert_eq!(targets(&seen), []);
    assert_eq!(set.stats().queries.missed, 0);
}

/// A capture that receives a reply in the same round in which the query is sent.
struct Interleaved {
    host: IpAddr,
    resolver: SocketAddr,
    /// Port of the previous client; each client has a new one.
    port: u16,
    /// A descriptor that is always readable.
    descriptor: UnixStream,
    _other_end: UnixStream,
}

impl Sensor for Interleaved {
    fn name(&self) -> &str {
        "interleaved"
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.descriptor.as_fd())
    }

    fn drain(
        &mut self,
        _: usize,
        sink: &mut dyn FnMut(&Observation),
    ) -> Result<Drained, SensorError> {
        for _ in 0..3 {
            sink(&self.datagram_to(9));
            self.port += 1;
            let client = UdpSocket::bind((self.host, self.port)).expect("bind");
            client.send_to(b"who?", self.resolver).expect("query");
            sink(&self.datagram_to(self.port));
        }
        Ok(Drained::Empty)
    }

    fn stats(&mut self) -> SensorStats {
        SensorStats::default()
    }
}

impl Interleaved {
    fn datagram_to(&self, target_port: u16) -> Observation {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("clock");
        Observation::datagram(self.resolver, SocketAddr::new(self.host, target_port))
            .stamped(Timestamp::from_nanos(since.as_nanos().try_into().expect("nanoseconds")))
            .on(1)
    }
}

impl LiveSensor for Interleaved {
    fn set_watched(&mut self, _: Arc<Watched>) {}
}

struct InterleavedBackend(IpAddr, SocketAddr);

impl LiveBackend for InterleavedBackend {
    fn open(
        &mut self,
        _: Option<&Interface>,
        _: &Arc<Watched>,
    ) -> Result<Box<dyn LiveSensor + Send>, SensorError> {
        let (descriptor, mut other_end) = UnixStream::pair().expect("pair");
        other_end.write_all(b"!").expect("write");
        let Self(host, resolver) = *self;
        Ok(Box::new(Interleaved {
            host,
            resolver,
            port: 10_000,
            descriptor,
            _other_end: other_end,
        }))
    }
}

#[test]
fn queries_are_read_again_before_a_later_reply_is_classified() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let selection = Selection::parse(&[bed.host.interface()]).expect("selection");
    let host = IpAddr::from(bed.host.v4());
    let backend = InterleavedBackend(host, (bed.scanner.v4(), 53).into());
    bed.host.enter(|| {
        let mut set = SensorSet::builder(selection, backend).open().expect("set");
        let deadline = Instant::now() + TIME_LIMIT;
        // The kernel starts to stamp packets some time after the first capture is opened, and
        // this one is the first.
        loop {
            let mut seen = Vec::new();
            set.drain(64, &mut |it| seen.push(*it)).expect("drain");
            if targets(&seen) == [(host, 9); 3] {
                break;
            }
            assert!(Instant::now() < deadline, "{seen:?}");
        }
        assert!(set.stats().tally.count(Rejected::SolicitedReply) >= 3);
    });
}

fn only_the_queried_socket_is_solicited(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut set = open(method, &bed.host);
    for (host, scanner) in both_families(&bed) {
        let other = match scanner {
            IpAddr::V4(it) => IpAddr::V4((it.to_bits() ^ 0x0100).into()),
            IpAddr::V6(it) => IpAddr::V6((it.to_bits() ^ 0x0100).into()),
        };
        let prefix = if other.is_ipv4() { "/16" } else { "/64" };
        let address = format!("{other}{prefix}");
        let device = bed.scanner.interface();
        let nodad: &[&str] = if other.is_ipv6() { &["nodad"] } else { &[] };
        bed.scanner.ip(&[&["address", "add", &address, "dev", device], nodad].concat());
        let resolver = socket(&bed.scanner, (scanner, 53));
        let client =
            query_and_close(&bed.host, host, resolver.local_addr().expect("address"), b"who?");
        assert_eq!(querier(&resolver), client);
        let probe = |from: UdpSocket, to: SocketAddr| from.send_to(b"probe", to).expect("probe");

        probe(socket(&bed.scanner, (scanner, 54)), client);
        assert_eq!(seen(&mut set, &bed, host), [(host, client.port())], "another port");
        probe(socket(&bed.scanner, (other, 53)), client);
        assert_eq!(seen(&mut set, &bed, host), [(host, client.port())], "another source");
        let other_port = client.port() ^ 1;
        probe(resolver, SocketAddr::new(host, other_port));
        assert_eq!(seen(&mut set, &bed, host), [(host, other_port)], "another target");
    }
    check_solicited(&mut set, 0);
}

fn a_fragmented_query_counts_as_a_query(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut set = open(method, &bed.host);
    for (number, (host, scanner)) in (1..).zip(both_families(&bed)) {
        let resolver = socket(&bed.scanner, (scanner, 53));
        let at = resolver.local_addr().expect("address");
        let client = query_and_close(&bed.host, host, at, &[7; 5000]);
        assert_eq!(querier(&resolver), client);
        resolver.send_to(&[8; 5000], client).expect("reply");
        assert_eq!(seen(&mut set, &bed, host), []);
        check_solicited(&mut set, number);
        assert_eq!(set.stats().queries.seen, number);
    }
}

fn replies_to_a_group_may_come_from_any_host(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    for end in [&bed.host, &bed.scanner] {
        end.ip(&["route", "add", "224.0.0.0/4", "dev", end.interface()]);
    }
    let mut set = open(method, &bed.host);
    let broadcast = Ipv4Addr::from(bed.host.v4().to_bits() | 0xff);
    let scope = bed.host.enter(|| interface(bed.host.interface()).index);
    let far_scope = bed.scanner.enter(|| interface(bed.scanner.interface()).index);
    let mdns4 = Ipv4Addr::new(224, 0, 0, 251);
    let mdns6: Ipv6Addr = "ff02::fb".parse().expect("address");
    let [(host4, scanner4), (host6, scanner6)] = both_families(&bed);
    let queries: [(IpAddr, IpAddr, SocketAddr); 3] = [
        (host4, scanner4, (mdns4, 5353).into()),
        (host4, scanner4, (broadcast, 1900).into()),
        (host6, scanner6, SocketAddrV6::new(mdns6, 5353, 0, scope).into()),
    ];
    for (number, (host, scanner, group)) in (1..).zip(queries) {
        let any: IpAddr = if host.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        let listener = socket(&bed.scanner, (any, group.port()));
        match group.ip() {
            IpAddr::V4(group) if group.is_multicast() => {
                listener.join_multicast_v4(&group, &bed.scanner.v4()).expect("join");
            }
            IpAddr::V4(_) => {}
            IpAddr::V6(group) => listener.join_multicast_v6(&group, far_scope).expect("join"),
        }
        let client = socket(&bed.host, (host, 0));
        client.set_broadcast(true).expect("SO_BROADCAST");
        client.send_to(b"who is there?", group).expect("query");
        let at = client.local_addr().expect("address");
        drop(client);
        assert_eq!(querier(&listener), at);
        // Many responders reply from another port.
        let responder = socket(&bed.scanner, (scanner, 0));
        responder.send_to(b"me", at).expect("reply");
        assert_eq!(seen(&mut set, &bed, host), [], "{group}");
        check_solicited(&mut set, number);
        let other_port = at.port() ^ 1;
        responder.send_to(b"probe", (host, other_port)).expect("probe");
        assert_eq!(seen(&mut set, &bed, host), [(host, other_port)], "{group}");
    }
}

fn replies_of_a_service_do_not_make_its_clients_solicited(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let mut set = open(method, &bed.host);
    for (host, scanner) in both_families(&bed) {
        let service = socket(&bed.host, (host, 161));
        let client = socket(&bed.scanner, (scanner, 0));
        for _ in 0..3 {
            client.send_to(b"read", (host, 161)).expect("request");
            let from = querier(&service);
            service.send_to(b"here", from).expect("reply");
            querier(&client);
            // The engine ignores served ports; the sensor observes each request.
            assert_eq!(seen(&mut set, &bed, host), [(host, 161)]);
        }
    }
    check_solicited(&mut set, 0);
}

fn replies_within_this_host_are_no_probes(method: Method) {
    let Some(root) = require_root() else { return };
    let host = Namespace::isolated(root);
    let mut set = open(method, &host);
    let inside: IpAddr = Ipv4Addr::LOCALHOST.into();
    let stub = socket(&host, (Ipv4Addr::new(127, 0, 0, 53), 53));
    let client = query_and_close(&host, inside, stub.local_addr().expect("address"), b"who?");
    assert_eq!(querier(&stub), client);
    stub.send_to(b"late", client).expect("reply");
    // The query was received over loopback as well, and is no reply to another query.
    let found = targets(&host.enter(|| watch_to_marker(&mut set, &host, inside)));
    assert_eq!(found, [(stub.local_addr().expect("address").ip(), 53)]);
    check_solicited(&mut set, 1);
}

fn masqueraded_queries_count_as_own_queries(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let inside = Namespace::isolated(root);
    let cable = ["inner0", "netns", bed.host.name(), "type", "veth"];
    let far_end = ["peer", "name", "inner1", "netns", inside.name()];
    bed.host.ip(&[&["link", "add"][..], &cable, &far_end].concat());
    for (namespace, device, address) in
        [(&bed.host, "inner0", "192.0.2.1/24"), (&inside, "inner1", "192.0.2.2/24")]
    {
        namespace.ip(&["address", "add", address, "dev", device]);
        namespace.ip(&["link", "set", device, "up"]);
    }
    inside.ip(&["route", "add", "default", "via", "192.0.2.1"]);
    bed.host.enter(|| std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")).expect("ip_forward");
    bed.host.run("nft", &["add table ip nat"]);
    bed.host.run("nft", &["add chain ip nat out { type nat hook postrouting priority 100 ; }"]);
    bed.host.run("nft", &["add rule ip nat out oifname host0 masquerade"]);

    let mut set = open(method, &bed.host);
    let (host, scanner) = (IpAddr::from(bed.host.v4()), bed.scanner.v4());
    let resolver = socket(&bed.scanner, (scanner, 53));
    let client = "192.0.2.2".parse().expect("address");
    query_and_close(&inside, client, resolver.local_addr().expect("address"), b"who?");
    let masked = querier(&resolver);
    assert_eq!(masked.ip(), host);
    resolver.send_to(b"late", masked).expect("reply");
    assert_eq!(seen(&mut set, &bed, host), []);
    check_solicited(&mut set, 1);
    // The query counts once, with the address that it has on the wire.
    assert_eq!(set.stats().queries.seen, 1);

    // A query that is forwarded without translation is not a query of this host.
    for (namespace, device, address) in
        [(&bed.host, "inner0", "2001:db8::1/64"), (&inside, "inner1", "2001:db8::2/64")]
    {
        namespace.ip(&["address", "add", address, "dev", device, "nodad"]);
    }
    inside.ip(&["-6", "route", "add", "default", "via", "2001:db8::1"]);
    let forwarding = "/proc/sys/net/ipv6/conf/all/forwarding";
    bed.host.enter(|| std::fs::write(forwarding, "1")).expect("forwarding");
    let resolver = socket(&bed.scanner, (bed.scanner.v6(), 53));
    let client = "2001:db8::2".parse().expect("address");
    let at = query_and_close(&inside, client, resolver.local_addr().expect("address"), b"who?");
    assert_eq!(querier(&resolver), at);
    assert_eq!(seen(&mut set, &bed, host), []);
    assert_eq!(set.stats().queries.seen, 1);
}

fn unmonitored_ports_need_no_query_sockets(method: Method) {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let packet_sockets = || bed.host.run("ss", &["-H", "-0", "-a"]).lines().count();
    let mut set = open_for(method, &bed.host, PortSet::new());
    // Each set has one more for the connections that this host accepts.
    let captures = set.watched().count() * method.rings() + 1;
    assert_eq!(packet_sockets(), captures, "before a query");
    let monitored = |ports: &[u16]| ports.iter().copied().collect::<PortSet>();
    let set_ports = |set: &mut SensorSet, udp: &[u16]| {
        // A socket belongs to the namespace of the thread that opens it.
        bed.host.enter(|| set.set_ports(monitored(&[23]), monitored(udp)));
    };
    set_ports(&mut set, &[7]);
    assert_eq!(packet_sockets(), captures + 1);
    set_ports(&mut set, &[]);
    assert_eq!(packet_sockets(), captures);
    set_ports(&mut set, &[7, 40_000]);
    assert_eq!(packet_sockets(), captures + 1);

    let host = IpAddr::from(bed.host.v4());
    let resolver = socket(&bed.scanner, (bed.scanner.v4(), 53));
    let at = resolver.local_addr().expect("address");
    for (port, expected) in [(39_999, 0), (40_000, 1)] {
        socket(&bed.host, (host, port)).send_to(b"who?", at).expect("query");
        resolver.send_to(b"late", querier(&resolver)).expect("reply");
        assert_eq!(seen(&mut set, &bed, host), []);
        assert_eq!(set.stats().queries.seen, expected);
        check_solicited(&mut set, expected);
    }
}
