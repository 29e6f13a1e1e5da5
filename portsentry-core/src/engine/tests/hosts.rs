//! Addresses of a host in both forms, and decisions of the caller about a host.

use super::*;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Returns a probe with assigned addresses, which no constructor made canonical.
fn mapped(source: &str) -> Observation {
    let mut probe = probe_from(source, 1);
    let IpAddr::V4(plain) = probe.source else { panic!("{source} is not an IPv4 address") };
    probe.source = plain.to_ipv6_mapped().into();
    probe.target = IpAddr::V6(core::net::Ipv4Addr::new(198, 51, 100, 1).to_ipv6_mapped());
    probe
}

/// A cache once decided whether a mapped source was the same host: `v4, v4, mapped`
/// triggered two responses.
#[test]
fn a_mapped_address_is_the_same_host() {
    let plain = probe_from("192.0.2.7", 1);
    let mapped = mapped("192.0.2.7");
    for order in 0..8 {
        let mut scenario = Scenario::new(Policy { scan_trigger: 2, ..blocking() });
        let reasons = [0, 1, 2]
            .map(|place| scenario.observe(if order >> place & 1 == 0 { &plain } else { &mapped }));
        let expected = [Reason::BelowTrigger, Reason::Triggered, Reason::Responding];
        assert_eq!(reasons, expected, "{order:03b}");
        let response = scenario.response();
        assert_eq!(response.probe.source, plain.source);
        scenario.end(response, Outcome::Succeeded);
        for probe in [plain, mapped] {
            assert_eq!(scenario.observe(&probe), Reason::AlreadyBlocked);
            assert!(scenario.engine.is_blocked(probe.source));
        }
        assert_eq!(scenario.engine.probes_of(mapped.source), 5);
    }
}

#[test]
fn a_mapped_address_is_the_same_host_in_a_batch_and_in_each_entry() {
    let (plain, mapped) = (probe_from("192.0.2.7", 1), mapped("192.0.2.7"));
    let mut scenario = Scenario::new(Policy { scan_trigger: 2, ..blocking() });
    scenario.engine.observe_batch(&[plain, plain, mapped], scenario.now);
    assert_eq!(scenario.engine.statistics().responses, 1);

    let mut scenario = Scenario::new(blocking());
    scenario.engine.restore_blocked([mapped.source]);
    assert_eq!(scenario.observe(&plain), Reason::AlreadyBlocked);
    assert_eq!(scenario.engine.blocked().collect::<Vec<_>>(), [plain.source]);
    assert!(scenario.engine.forget(mapped.source));
    assert_eq!(scenario.observe(&plain), Reason::Triggered);

    // Source and target are compared in the same form.
    let mut own = mapped;
    own.source = plain.target;
    assert_eq!(scenario.observe(&own), Reason::SameAddress);
}

#[test]
fn a_forgotten_host_is_new() {
    let mut scenario = Scenario::new(Policy { scan_trigger: 2, ..blocking() });
    let host = address("192.0.2.7");
    assert!(!scenario.engine.forget(host));
    for expected in [Reason::BelowTrigger, Reason::Triggered] {
        assert_eq!(scenario.probe("192.0.2.7", 1), expected);
    }
    let response = scenario.response();
    scenario.end(response, Outcome::Succeeded);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::AlreadyBlocked);
    scenario.engine.restore_blocked([address("192.0.2.8"), address("2001:db8::7")]);
    assert!(scenario.engine.forget(host));
    let others = [address("192.0.2.8"), address("2001:db8::7")];
    assert_eq!(scenario.engine.blocked().collect::<Vec<_>>(), others);
    assert_eq!(scenario.engine.probes_of(host), 0);
    for expected in [Reason::BelowTrigger, Reason::Triggered] {
        assert_eq!(scenario.probe("192.0.2.7", 1), expected);
    }
    // A failure is forgotten too.
    let response = scenario.response();
    scenario.end(response, Outcome::Failed);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::RetryLater);
    assert!(scenario.engine.forget(host));
    for expected in [Reason::BelowTrigger, Reason::Triggered] {
        assert_eq!(scenario.probe("192.0.2.7", 1), expected);
    }
}

#[test]
fn advice_replaces_one_rule() {
    let never_block = ["203.0.113.0/24".parse::<ipnet::IpNet>().unwrap()].into_iter().collect();
    let policy = Policy { scan_trigger: 3, never_block, ..blocking() };
    let mut scenario = Scenario::new(policy);
    let mut check = |source: &str, advice, expected| {
        let probe = probe_from(source, 1).at(scenario.now);
        let verdict = scenario.engine.observe_advised(&probe, advice, scenario.now);
        assert_eq!(verdict.reason, expected, "{source} {advice:?}");
    };
    check("192.0.2.1", Advice::None, Reason::BelowTrigger);
    check("192.0.2.1", Advice::Spare, Reason::BelowTrigger);
    check("192.0.2.1", Advice::Spare, Reason::Advised);
    check("192.0.2.1", Advice::Ignore, Reason::IgnoreList);
    check("192.0.2.1", Advice::None, Reason::Triggered);
    check("192.0.2.2", Advice::Trigger, Reason::Triggered);
    // Advice applies to one probe, and the other rules still apply.
    check("192.0.2.3", Advice::Trigger, Reason::Triggered);
    check("192.0.2.4", Advice::Ignore, Reason::IgnoreList);
    check("192.0.2.4", Advice::None, Reason::BelowTrigger);
    check("203.0.113.9", Advice::Trigger, Reason::NeverBlock);
    assert_eq!(scenario.probe("192.0.2.2", 200), Reason::NotMonitored);
}

#[test]
fn a_reserved_source_has_no_response_and_its_own_counter() {
    let target = "[2001:db8::1]:1".parse().unwrap();
    let forged =
        Observation::segment("[::ffff:192.0.2.7]:9".parse().unwrap(), target, TcpFlags::SYN);
    let mut scenario = Scenario::new(Policy { scan_trigger: 2, ..blocking() });
    for expected in [Reason::BelowTrigger, Reason::ReservedSource, Reason::ReservedSource] {
        assert_eq!(scenario.observe(&forged), expected);
    }
    scenario.engine.observe_batch(&[forged; 3], scenario.now);
    assert_eq!(scenario.engine.probes_of(address("192.0.2.7")), 0);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::BelowTrigger);
    let mut scenario = Scenario::new(blocking());
    for source in ["240.0.0.1", "255.255.255.255", "0.1.2.3"] {
        assert_eq!(scenario.probe(source, 1), Reason::ReservedSource);
    }
    assert_eq!(scenario.probe("239.0.0.1", 1), Reason::Triggered);
    assert_eq!(scenario.engine.statistics().decided(Reason::ReservedSource), 3);
}
