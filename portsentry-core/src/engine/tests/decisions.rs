//! The rule that decides, and its line.

use super::*;

#[test]
fn each_rule_gives_the_line_of_the_contract() {
    let head = "Scan from: [192.0.2.7] (192.0.2.7) protocol: [TCP] port: [23] \
                type: [TCP SYN/Normal scan] IP opts: [not set] ";
    let line = |tail: String| format!("{head}{tail}");
    let probe = probe_from("192.0.2.7", 23);

    check_line(watching(), &probe, Some(&line(tail("false", "true", "true", "false"))));
    let ignoring = || ["192.0.2.0/24".parse::<ipnet::IpNet>().unwrap()].into_iter().collect();
    check_line(
        Policy { ignore: ignoring(), ..blocking() },
        &probe,
        Some(&line(tail("true", "unset", "unset", "unset"))),
    );
    check_line(
        Policy { scan_trigger: 2, ..blocking() },
        &probe,
        Some(&line(tail("false", "false", "unset", "unset"))),
    );
    check_line(
        Policy { never_block: ignoring(), ..blocking() },
        &probe,
        Some(&line(tail("false", "true", "true", "false"))),
    );
    check_line(
        Policy { block_udp: false, ..blocking() },
        &datagram_from("192.0.2.7", 23),
        Some(
            "Scan from: [192.0.2.7] (192.0.2.7) protocol: [UDP] port: [23] type: [UDP] \
             IP opts: [not set] ignored: [false] triggered: [true] noblock: [true] blocked: [false]",
        ),
    );
}

#[test]
fn a_probe_from_the_target_itself_triggers_no_response() {
    let own = Observation {
        target: "192.0.2.7".parse().unwrap(),
        ip_options: IpOptions::Present,
        ..probe_from("192.0.2.7", 23)
    };
    check_line(
        blocking(),
        &own,
        Some(
            "Scan from: [192.0.2.7] (192.0.2.7) protocol: [TCP] port: [23] \
             type: [TCP SYN/Normal scan] IP opts: [set] \
             ignored: [true] triggered: [true] noblock: [true] blocked: [false]",
        ),
    );
    let mut scenario = Scenario::new(Policy { respond_to_self: true, ..blocking() });
    assert_eq!(scenario.observe(&own), Reason::Triggered);
}

#[test]
fn replies_and_unmonitored_ports_are_dropped_without_an_event() {
    check_line(watching(), &probe_from("192.0.2.7", 101), None);
    check_line(watching(), &probe_from("192.0.2.7", 0), None);
    for flags in 0..64 {
        let flags = TcpFlags::from_bits(flags);
        let answer = flags.contains(TcpFlags::ACK) || flags.contains(TcpFlags::RST);
        let mut scenario = Scenario::new(watching());
        let reason = scenario.observe(&with_flags("192.0.2.7", 23, flags));
        assert_eq!(reason, if answer { Reason::NotOpener } else { Reason::LogOnly }, "{flags:?}");
    }
}

#[test]
fn the_type_depends_only_on_six_flags() {
    #[track_caller]
    fn check(flags: u16, expected: &str) {
        let observation = with_flags("192.0.2.7", 23, TcpFlags::from_bits(flags));
        assert_eq!(observation.kind().to_string(), expected);
        // ECE, CWR and the reserved bits have no effect.
        let noisy = with_flags("192.0.2.7", 23, TcpFlags::from_bits(flags | 0xfc0));
        assert_eq!(noisy.kind().to_string(), expected);
    }
    let other = |syn, fin, ack, psh, urg, rst| {
        format!(
            "Unknown Type: TCP Packet Flags: SYN: {syn} FIN: {fin} ACK: {ack} \
             PSH: {psh} URG: {urg} RST: {rst}"
        )
    };
    check(0x00, "TCP NULL scan");
    check(0x01, "TCP FIN scan");
    check(0x02, "TCP SYN/Normal scan");
    check(0x29, "TCP XMAS scan");
    check(0x2b, "TCP XMAS scan");
    check(0x03, &other(1, 1, 0, 0, 0, 0));
    check(0x08, &other(0, 0, 0, 1, 0, 0));
    check(0x20, &other(0, 0, 0, 0, 1, 0));
    check(0x21, &other(0, 1, 0, 0, 1, 0));
    check(0x14, &other(0, 0, 1, 0, 0, 1));
}

#[test]
fn the_trigger_counts_probes_of_one_source() {
    let mut scenario = Scenario::new(Policy { scan_trigger: 3, ..watching() });
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::BelowTrigger);
    assert_eq!(scenario.probe("192.0.2.8", 1), Reason::BelowTrigger);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::BelowTrigger);
    assert_eq!(scenario.probe("192.0.2.7", 2), Reason::LogOnly);
    assert_eq!(scenario.probe("192.0.2.7", 3), Reason::LogOnly);
    assert_eq!(scenario.probe("192.0.2.8", 1), Reason::BelowTrigger);
}

#[test]
fn a_trigger_of_one_is_the_first_probe() {
    for scan_trigger in [0, 1] {
        let mut scenario = Scenario::new(Policy { scan_trigger, ..watching() });
        assert_eq!(scenario.probe("192.0.2.7", 1), Reason::LogOnly);
    }
}

#[test]
fn counting_stops_at_the_maximum() {
    let mut scenario = Scenario::new(Policy { scan_trigger: u16::MAX, ..watching() });
    for _ in 1..u16::MAX {
        assert_eq!(scenario.probe("192.0.2.7", 1), Reason::BelowTrigger);
        scenario.engine.poll_event();
    }
    for _ in 0..3 {
        assert_eq!(scenario.probe("192.0.2.7", 1), Reason::LogOnly);
    }
}

#[test]
fn old_probes_leave_the_window() {
    let window = |seconds| Some(Duration::from_secs(seconds));
    let policy = Policy { scan_trigger: 2, trigger_window: window(100), ..watching() };
    let mut scenario = Scenario::new(policy.clone());
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::BelowTrigger);
    scenario.wait(100);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::BelowTrigger);
    scenario.wait(99);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::LogOnly);
    // A reload changes the window and keeps the counters.
    scenario.engine.set_policy(Policy { trigger_window: window(50), ..policy });
    scenario.wait(49);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::LogOnly);
    scenario.wait(50);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::BelowTrigger);
}

/// The window compares the times of packets, not of their arrival at the engine.
#[test]
fn detection_compares_the_time_of_the_packet() {
    let trigger_window = Some(Duration::from_secs(100));
    let policy = Policy { scan_trigger: 2, trigger_window, ..watching() };
    let mut scenario = Scenario::new(policy);
    let mut at = |second| {
        let probe = probe_from("192.0.2.7", 1).at(Instant::from_secs(second));
        scenario.engine.observe(&probe, scenario.now).reason
    };
    assert_eq!(at(500), Reason::BelowTrigger);
    assert_eq!(at(600), Reason::BelowTrigger);
    // A time before the last one counts as the last one.
    assert_eq!(at(0), Reason::LogOnly);
    assert_eq!(at(699), Reason::LogOnly);
}

#[test]
fn a_served_port_is_not_watched_by_default() {
    let serving = || {
        ServedPorts::new([
            (Protocol::Tcp, "198.51.100.1".parse().unwrap(), 22, false),
            (Protocol::Tcp, "0.0.0.0".parse().unwrap(), 80, false),
        ])
    };
    let mut scenario = Scenario::new(watching());
    scenario.engine.set_served_ports(serving());
    assert_eq!(scenario.probe("192.0.2.7", 22), Reason::Served);
    assert_eq!(scenario.probe("192.0.2.7", 80), Reason::Served);
    assert_eq!(scenario.observe(&datagram_from("192.0.2.7", 22)), Reason::LogOnly);
    let elsewhere =
        Observation { target: "198.51.100.2".parse().unwrap(), ..probe_from("192.0.2.7", 22) };
    assert_eq!(scenario.observe(&elsewhere), Reason::LogOnly);
    assert_eq!(
        scenario.lines()[..2],
        [
            "Ignoring packet from 192.0.2.7 to destination port 22, a service is running",
            "Ignoring packet from 192.0.2.7 to destination port 80, a service is running",
        ]
    );

    let mut scenario = Scenario::new(Policy { watch_served_ports: true, ..watching() });
    scenario.engine.set_served_ports(serving());
    assert_eq!(scenario.probe("192.0.2.7", 22), Reason::LogOnly);
}

#[test]
fn a_connected_socket_hides_probes_only_of_its_peer() {
    let mut scenario = Scenario::new(watching());
    let seen = datagram_from("192.0.2.7", 22);
    let (local, peer) = ((seen.target, 22), (seen.source, seen.source_port));
    scenario.engine.set_served_ports(ServedPorts::default().with_connected([(local, peer)]));
    assert_eq!(scenario.observe(&seen), Reason::Served);
    let segment = Observation { source_port: seen.source_port, ..probe_from("192.0.2.7", 22) };
    assert_eq!(scenario.observe(&segment), Reason::LogOnly);
    let other = Observation { source_port: seen.source_port ^ 1, ..seen };
    assert_eq!(scenario.observe(&other), Reason::LogOnly);
    assert_eq!(scenario.observe(&datagram_from("192.0.2.8", 22)), Reason::LogOnly);
}

#[test]
fn a_served_port_has_one_line_a_minute_and_a_count_of_the_others() {
    let mut scenario = Scenario::new(watching());
    let any = "0.0.0.0".parse().unwrap();
    scenario.engine.set_served_ports(ServedPorts::new([(Protocol::Tcp, any, 80, false)]));
    for _ in 0..60 {
        scenario.probe("192.0.2.7", 80);
        scenario.wait(1);
    }
    assert_eq!(scenario.lines().len(), 1);
    scenario.probe("192.0.2.7", 80);
    scenario.probe("192.0.2.8", 80);
    assert_eq!(scenario.lines().len(), 2, "a new minute, and another source");
    scenario.wait(60);
    scenario.engine.handle_timeout(scenario.now);
    assert_eq!(
        scenario.lines(),
        [
            "Suppressed 59 lines about packets to ports with a running service in the last 60 seconds"
        ]
    );
}

#[test]
fn a_new_policy_keeps_counters_and_blocked_hosts() {
    let mut scenario = Scenario::new(Policy { scan_trigger: 2, ..blocking() });
    scenario.engine.restore_blocked(["192.0.2.9".parse().unwrap()]);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::BelowTrigger);
    scenario.engine.set_policy(Policy {
        scan_trigger: 2,
        udp_ports: PortSet::default(),
        ..blocking()
    });
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::Triggered);
    assert_eq!(scenario.observe(&datagram_from("192.0.2.7", 1)), Reason::NotMonitored);
    assert_eq!(scenario.probe("192.0.2.9", 1), Reason::BelowTrigger);
    assert_eq!(scenario.probe("192.0.2.9", 1), Reason::AlreadyBlocked);
}

#[test]
fn an_earlier_time_counts_as_the_latest() {
    let mut scenario = Scenario::new(blocking());
    scenario.probe("192.0.2.7", 1);
    let response = scenario.response();
    scenario.end(response, Outcome::Failed);
    scenario.now = Instant::from_secs(0);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::RetryLater);
    scenario.now = Instant::from_secs(1_005);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::Triggered);
}

#[test]
fn every_probe_is_counted_under_the_reason_of_its_event() {
    let mut scenario = Scenario::new(Policy { scan_trigger: 2, ..blocking() });
    for port in [1, 2, 3, 200] {
        scenario.probe("192.0.2.7", port);
    }
    let response = scenario.response();
    scenario.end(response, Outcome::Succeeded);
    let statistics = scenario.engine.statistics();
    assert_eq!(statistics.observations(), 4);
    assert_eq!(statistics.probes(), 3);
    assert_eq!(scenario.reasons().len(), 3);
    assert_eq!(statistics.decided(Reason::NotMonitored), 1);
    assert_eq!(statistics.decided(Reason::BelowTrigger), 1);
    assert_eq!(statistics.decided(Reason::Blocked), 1);
    assert_eq!(statistics.decided(Reason::AlreadyBlocked), 1);
}
