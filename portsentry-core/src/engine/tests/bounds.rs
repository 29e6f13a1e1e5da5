//! Limits of the engine's memory, at their extremes.

use super::*;

#[test]
fn extreme_limits_are_usable() {
    let [least, most] = [0, usize::MAX].map(|bound| {
        let limits = Limits::default().sources(bound).served_lines(bound);
        limits.blocked(bound).blocked_v6(bound).responses(bound).waiting(bound).failed(bound)
    });
    for limits in [&most, &most.divided_by(3)] {
        let mut scenario = Scenario::with_limits(Policy { scan_trigger: 3, ..blocking() }, limits);
        for expected in [Reason::BelowTrigger, Reason::BelowTrigger, Reason::Triggered] {
            assert_eq!(scenario.probe("192.0.2.7", 1), expected);
            assert_eq!(scenario.probe("2001:db8::7", 1), expected);
        }
        let response = scenario.response();
        scenario.end(response, Outcome::Succeeded);
        assert_eq!(scenario.probe("192.0.2.7", 1), Reason::AlreadyBlocked);
    }
    let policy = Policy { trigger_window: Some(Duration::MAX), ..blocking() };
    let limits = least.responses(1).response_timeout(Some(Duration::MAX));
    let mut scenario = Scenario::with_limits(policy, &limits);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::Triggered);
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::Overloaded, "no probe may wait");
    scenario.engine.handle_timeout(Instant::from_nanos(u64::MAX - 1));
    assert_eq!(scenario.engine.statistics().responses, 1);
}

#[test]
fn events_above_the_limit_are_dropped_and_counted() {
    let mut scenario = Scenario::with_limits(watching(), &Limits::default().events(3));
    for port in 1..=5 {
        scenario.probe("192.0.2.7", port);
    }
    let ports: Vec<u16> = scenario.reasons().into_iter().map(|(_, port, _)| port).collect();
    assert_eq!(ports, [1, 2, 3], "the oldest events are kept");
    assert_eq!(scenario.engine.statistics().events_lost, 2);
    scenario.probe("192.0.2.7", 6);
    assert_eq!(scenario.reasons().len(), 1);
}

#[test]
fn an_engine_prints_as_a_few_lines() {
    let mut scenario = Scenario::new(blocking());
    scenario.probe("192.0.2.7", 1);
    let text = format!("{:?}", scenario.engine);
    assert!(text.len() < 1_000 && text.contains("observations: 1"), "{text}");
}
