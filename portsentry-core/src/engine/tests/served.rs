//! Served ports, and the memory of earlier ones.

use core::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const HOST: &str = "198.51.100.1";
const GRACE: Duration = Duration::from_secs(600);

fn remembering() -> Policy {
    Policy { served_grace: GRACE, ..watching() }
}

/// Sockets as a caller gives them: protocol, bound address, port, only IPv6.
type Socket = (Protocol, IpAddr, u16, bool);

fn tcp(address: &str, port: u16) -> Socket {
    (Protocol::Tcp, address.parse().unwrap(), port, false)
}

fn udp(address: &str, port: u16) -> Socket {
    (Protocol::Udp, address.parse().unwrap(), port, false)
}

impl Scenario {
    fn serve(&mut self, sockets: &[Socket]) {
        let served = ServedPorts::new(sockets.iter().copied());
        self.engine.set_served_ports(served.taken_at(self.now));
    }

    fn datagram(&mut self, port: u16) -> Reason {
        self.observe(&datagram_from("192.0.2.7", port))
    }
}

#[test]
fn a_port_counts_as_served_until_the_grace_time_is_over() {
    let mut scenario = Scenario::new(remembering());
    scenario.serve(&[tcp("0.0.0.0", 80)]);
    scenario.wait(3_600);
    assert_eq!(scenario.probe("192.0.2.7", 80), Reason::Served);
    scenario.serve(&[]);
    assert_eq!(scenario.probe("192.0.2.7", 81), Reason::LogOnly);
    assert_eq!(scenario.datagram(80), Reason::LogOnly);
    scenario.wait(599);
    // The packet does not prolong the time.
    assert_eq!(scenario.probe("192.0.2.7", 80), Reason::Served);
    scenario.wait(1);
    assert_eq!(scenario.probe("192.0.2.7", 80), Reason::LogOnly);
    // A service that starts and ends again.
    scenario.serve(&[tcp("0.0.0.0", 80)]);
    scenario.serve(&[]);
    assert_eq!(scenario.probe("192.0.2.7", 80), Reason::Served);
}

#[test]
fn without_a_grace_time_nothing_is_remembered() {
    let mut scenario = Scenario::new(watching());
    scenario.serve(&[tcp("0.0.0.0", 80)]);
    scenario.serve(&[]);
    assert_eq!(scenario.probe("192.0.2.7", 80), Reason::LogOnly);
    let probe = probe_from("192.0.2.7", 81);
    let verdict = scenario.engine.observe_served(&probe, scenario.now);
    assert_eq!(verdict, Verdict::new(Decision::Drop, Reason::Served));
    assert_eq!(scenario.probe("192.0.2.7", 81), Reason::LogOnly);
}

#[test]
fn a_new_policy_changes_the_grace_time_immediately() {
    let mut scenario = Scenario::new(remembering());
    scenario.serve(&[tcp("0.0.0.0", 80)]);
    scenario.serve(&[]);
    scenario.wait(60);
    for (grace, expected) in
        [(61, Reason::Served), (60, Reason::LogOnly), (61, Reason::LogOnly), (0, Reason::LogOnly)]
    {
        let served_grace = Duration::from_secs(grace);
        scenario.engine.set_policy(Policy { served_grace, ..watching() });
        assert_eq!(scenario.probe("192.0.2.7", 80), expected, "{grace}");
    }
    scenario.engine.set_policy(Policy { watch_served_ports: true, ..remembering() });
    assert_eq!(scenario.probe("192.0.2.7", 80), Reason::LogOnly);
}

#[test]
fn impossible_segments_to_a_remembered_port_are_probes() {
    let mut scenario = Scenario::new(remembering());
    scenario.serve(&[tcp("0.0.0.0", 80)]);
    let flags = |bits: u16| with_flags("192.0.2.7", 80, TcpFlags::from_bits(bits));
    let (ecn, reserved) = (0xc2, 0x102);
    let impossible = [0x00, 0x01, 0x29, 0x03, 0x08, 0x20, 0x0a, 0x22, 0x40];
    for bits in impossible {
        assert_eq!(scenario.observe(&flags(bits)), Reason::Served, "{bits:#x}");
    }
    scenario.serve(&[]);
    for bits in [0x02, ecn, reserved] {
        assert_eq!(scenario.observe(&flags(bits)), Reason::Served, "{bits:#x}");
    }
    for bits in impossible {
        assert_eq!(scenario.observe(&flags(bits)), Reason::LogOnly, "{bits:#x}");
        assert!(!scenario.engine.needs_socket_lookup(&flags(bits), scenario.now));
    }
}

#[test]
fn datagram_ports_are_remembered_if_they_are_used_or_settled() {
    let mut scenario = Scenario::new(remembering());
    // A socket that waits for a reply, one that another host uses, and a quiet service.
    let [query, used, quiet] = [40, 50, 60].map(|port| udp("0.0.0.0", port));
    for _ in 0..4 {
        scenario.serve(&[quiet]);
        scenario.wait(1);
    }
    scenario.serve(&[query, used, quiet]);
    assert_eq!(scenario.datagram(50), Reason::Served);
    scenario.serve(&[]);
    let reasons = [40, 50, 60].map(|port| scenario.datagram(port));
    assert_eq!(reasons, [Reason::LogOnly, Reason::Served, Reason::Served]);
}

#[test]
fn the_answer_of_the_kernel_is_remembered_for_this_address() {
    let mut scenario = Scenario::new(remembering());
    let probe = datagram_from("192.0.2.7", 40);
    let mapped = Observation { target: "::ffff:198.51.100.1".parse().unwrap(), ..probe };
    assert!(scenario.engine.needs_socket_lookup(&probe, scenario.now));
    assert_eq!(scenario.engine.observe_served(&mapped, scenario.now).reason, Reason::Served);
    let line = "Ignoring packet from 192.0.2.7 to destination port 40, a service is running";
    assert_eq!(scenario.lines(), [line]);
    assert!(!scenario.engine.needs_socket_lookup(&probe, scenario.now));
    assert_eq!(scenario.observe(&datagram_from("192.0.2.8", 40)), Reason::Served);
    let elsewhere = Observation { target: "198.51.100.2".parse().unwrap(), ..probe };
    assert_eq!(scenario.observe(&elsewhere), Reason::LogOnly);
    assert_eq!(scenario.engine.statistics().decided(Reason::Served), 2);
}

#[test]
fn an_accepted_connection_goes_to_a_served_port() {
    let mut scenario = Scenario::new(remembering());
    let opener = probe_from("192.0.2.7", 80);
    assert!(!scenario.engine.needs_socket_lookup(&opener.accepted(), scenario.now));
    assert_eq!(scenario.observe(&opener.accepted()), Reason::Served);
    assert_eq!(scenario.probe("192.0.2.8", 80), Reason::Served);
    assert_eq!(scenario.probe("192.0.2.8", 81), Reason::LogOnly);
    scenario.engine.set_policy(Policy { watch_served_ports: true, ..remembering() });
    assert_eq!(scenario.observe(&opener.accepted()), Reason::LogOnly);
}

/// The rules in their shortest form: all snapshots, searched from start to end.
#[derive(Default)]
struct Model {
    snapshots: Vec<(Instant, Vec<Socket>)>,
    /// Ports of served datagrams, each with the number of snapshots before it.
    used: Vec<(usize, u16)>,
    /// Answers of the kernel.
    answered: Vec<(Instant, Protocol, IpAddr, u16)>,
}

/// Returns whether the kernel delivers packets to `address` to this socket.
fn receives(&(protocol, bound, port, only_v6): &Socket, wanted: (Protocol, IpAddr, u16)) -> bool {
    let (wanted_protocol, address, wanted_port) = wanted;
    let bound = bound.to_canonical();
    let reaches = match (bound.is_unspecified(), bound.is_ipv4(), address.is_ipv4()) {
        (false, ..) => bound == address,
        (true, false, true) => !only_v6,
        (true, v4, wants_v4) => v4 == wants_v4,
    };
    protocol == wanted_protocol && port == wanted_port && reaches
}

impl Model {
    fn serves(&self, number: usize, wanted: (Protocol, IpAddr, u16)) -> bool {
        !self.receiving(number, wanted).is_empty()
    }

    fn receiving(&self, number: usize, wanted: (Protocol, IpAddr, u16)) -> Vec<Socket> {
        let sockets = self.snapshots.get(number).map(|(_, sockets)| sockets.clone());
        sockets.unwrap_or_default().into_iter().filter(|it| receives(it, wanted)).collect()
    }

    /// Returns whether a packet at `now` may be, and whether it must be, served by memory.
    fn remembers(&self, wanted: (Protocol, IpAddr, u16), now: Instant) -> (bool, bool) {
        let (protocol, _, port) = wanted;
        let (mut may, mut must) = (false, false);
        for (end, (ended, _)) in self.snapshots.iter().enumerate().skip(1) {
            if now.since(*ended) >= GRACE {
                continue;
            }
            let missing = !self.serves(end, wanted);
            let used = self.used.iter().any(|&(before, at)| before <= end && at == port);
            // Two periods, each up to one snapshot longer than a second.
            let old = self.receiving(end - 1, wanted).iter().any(|socket| {
                let mut numbers = (0..end).rev();
                let always = |at: &usize| self.snapshots[*at].1.contains(socket);
                let first = numbers.by_ref().take_while(always).last().unwrap_or(end);
                let last = self.snapshots[end - 1].0;
                last.since(self.snapshots[first].0) >= Duration::from_secs(6)
            });
            let serves = self.serves(end - 1, wanted);
            must |= serves && missing && (protocol == Protocol::Tcp || used || old);
            // A change of one of several sockets counts as an end, too.
            let changed = self.receiving(end - 1, wanted) != self.receiving(end, wanted);
            may |= serves && changed && (protocol == Protocol::Tcp || used || end >= 2);
        }
        let answered = self.answered.iter().any(|&(at, protocol, address, port)| {
            (protocol, address, port) == wanted && now.since(at) < GRACE
        });
        (may || answered, must || answered)
    }
}

fn any_socket() -> impl Strategy<Value = Socket> {
    let addresses = vec!["0.0.0.0", "::", HOST, "::ffff:198.51.100.1", "2001:db8::1"];
    let protocols = vec![Protocol::Tcp, Protocol::Udp];
    (select(protocols), select(addresses), 1_u16..4, any::<bool>())
        .prop_map(|(protocol, address, port, v6)| (protocol, address.parse().unwrap(), port, v6))
}

proptest! {
    #[test]
    fn the_memory_agrees_with_a_search_of_all_snapshots(
        steps in prop::collection::vec(
            (
                prop::option::of(prop::collection::vec(any_socket(), 0..4)),
                select(vec![0_u64, 250, 1_000, 2_000, 300_000, 599_000, 600_000]),
                any_socket(),
                0..8_u8,
            ),
            1..30,
        ),
    ) {
        let mut scenario = Scenario::new(remembering());
        let mut model = Model::default();
        for (snapshot, pause, (protocol, _, port, v6), choice) in steps {
            scenario.now = scenario.now.after(Duration::from_millis(pause));
            let now = scenario.now;
            if let Some(sockets) = snapshot {
                scenario.serve(&sockets);
                model.snapshots.push((now, sockets));
            }
            let target: IpAddr = if v6 { "2001:db8::1" } else { HOST }.parse().unwrap();
            let source = if v6 { "2001:db8::7" } else { "192.0.2.7" };
            let source = SocketAddr::new(source.parse().unwrap(), 4_000);
            let at = SocketAddr::new(target, port);
            let probe = match protocol {
                Protocol::Tcp => Observation::segment(source, at, TcpFlags::SYN),
                Protocol::Udp => Observation::datagram(source, at),
            };
            let wanted = (protocol, target, port);
            let is_served = model.serves(model.snapshots.len().wrapping_sub(1), wanted);
            if choice == 0 {
                scenario.engine.observe_served(&probe, now);
                model.answered.push((now, protocol, target, port));
                continue;
            }
            let (may, must) = model.remembers(wanted, now);
            let asks = scenario.engine.needs_socket_lookup(&probe, now);
            let reason = scenario.engine.observe(&probe.at(now), now).reason;
            let served = reason == Reason::Served;
            prop_assert_eq!(asks, !served);
            prop_assert!(!served || is_served || may, "{:?} {:?}", wanted, reason);
            prop_assert!(served || !is_served && !must, "{:?} {:?}", wanted, reason);
            if is_served && protocol == Protocol::Udp {
                model.used.push((model.snapshots.len(), port));
            }
        }
    }
}
