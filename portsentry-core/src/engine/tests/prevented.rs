//! Responses that a check outside of the engine prevents.

use super::*;

const SOURCE: &str = "192.0.2.1";

/// Returns a scenario in which the response to a probe of port 1 was prevented for `seconds`.
fn prevented(scope: PreventionScope, seconds: u64) -> Scenario {
    let mut scenario = Scenario::new(Policy { block_rate: 2, ..blocking() });
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Triggered);
    prevent(&mut scenario, scope, seconds);
    assert_eq!(scenario.reasons(), [(SOURCE.into(), 1, Reason::Prevented)]);
    scenario
}

fn prevent(scenario: &mut Scenario, scope: PreventionScope, seconds: u64) {
    let response = scenario.response();
    let until = scenario.now.after(Duration::from_secs(seconds));
    scenario.engine.prevent(response.id, scope, until, scenario.now);
    // A second call has no effect.
    scenario.engine.prevent(response.id, scope, until, scenario.now);
}

#[test]
fn a_prevented_host_has_no_response_until_it_is_checked_again() {
    let mut scenario = prevented(PreventionScope::Host, 10);
    assert_eq!(scenario.probe(SOURCE, 2), Reason::Prevented);
    assert_eq!(scenario.observe(&datagram_from(SOURCE, 1)), Reason::Prevented);
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Triggered);
    scenario.wait(9);
    assert_eq!(scenario.probe(SOURCE, 2), Reason::Prevented);
    scenario.wait(1);
    // It counted neither as a failure nor for the rate, whose limit is 2.
    assert_eq!(scenario.probe(SOURCE, 2), Reason::Triggered);
    let statistics = scenario.engine.statistics();
    assert_eq!(statistics.decided(Reason::Prevented), 4);
    assert_eq!(statistics.decided(Reason::ResponseFailed), 0);
    assert!(!scenario.engine.is_blocked(SOURCE.parse().unwrap()));
}

#[test]
fn a_prevented_port_is_one_port_of_one_protocol() {
    let mut scenario = prevented(PreventionScope::Port, 10);
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Prevented);
    assert_eq!(scenario.probe(SOURCE, 2), Reason::Triggered);
    prevent(&mut scenario, PreventionScope::Port, 10);
    assert_eq!(scenario.observe(&datagram_from(SOURCE, 2)), Reason::Triggered);
}

#[test]
fn waiting_probes_of_other_ports_are_decided_again() {
    for (scope, other) in
        [(PreventionScope::Port, Reason::Responding), (PreventionScope::Host, Reason::Prevented)]
    {
        let mut scenario = Scenario::new(blocking());
        for (port, reason) in
            [(1, Reason::Triggered), (1, Reason::Responding), (2, Reason::Responding)]
        {
            assert_eq!(scenario.probe(SOURCE, port), reason);
        }
        prevent(&mut scenario, scope, 10);
        let waits = other == Reason::Responding;
        assert_eq!(scenario.engine.poll_effect().is_some(), waits, "{scope:?}");
        let prevented = scenario.reasons().iter().filter(|it| it.2 == Reason::Prevented).count();
        assert_eq!(prevented, if waits { 2 } else { 3 }, "{scope:?}");
        assert_eq!(scenario.probe(SOURCE, 3), other, "{scope:?}");
    }
}

#[test]
fn all_hosts_are_allowed_after_the_time_or_with_a_new_policy() {
    let mut scenario = prevented(PreventionScope::AllHosts, 10);
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Prevented);
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Prevented);
    scenario.wait(10);
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Triggered);
    prevent(&mut scenario, PreventionScope::AllHosts, 10);
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Prevented);
    let policy = scenario.engine.policy().clone();
    scenario.engine.set_policy(policy);
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Triggered);
}

#[test]
fn a_failed_response_keeps_its_delays_when_the_retry_is_prevented() {
    let mut scenario = Scenario::new(blocking());
    scenario.probe(SOURCE, 1);
    let response = scenario.response();
    scenario.end(response, Outcome::Failed);
    scenario.wait(5);
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Triggered);
    prevent(&mut scenario, PreventionScope::Host, 1);
    scenario.wait(1);
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Triggered);
    let response = scenario.response();
    scenario.end(response, Outcome::Failed);
    // The second failure doubles the delay.
    scenario.wait(9);
    assert_eq!(scenario.probe(SOURCE, 1), Reason::RetryLater);
    scenario.wait(1);
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Triggered);
}

#[test]
fn prevented_hosts_are_bounded_like_failed_ones() {
    let mut scenario = Scenario::with_limits(blocking(), &Limits::default().failed(1));
    for source in [SOURCE, "192.0.2.2"] {
        scenario.probe(source, 1);
        prevent(&mut scenario, PreventionScope::Host, 10);
    }
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Triggered);
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Prevented);
    assert!(scenario.engine.forget("192.0.2.2".parse().unwrap()));
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Triggered);
}
