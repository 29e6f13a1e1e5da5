//! Responses of which some actions succeeded and others failed.

use super::*;

const SOURCE: &str = "192.0.2.1";

/// Returns a scenario in which the response to a probe of port 1 succeeded in part.
fn blocked_in_part(policy: Policy) -> Scenario {
    let mut scenario = Scenario::new(policy);
    assert_eq!(scenario.probe(SOURCE, 1), Reason::Triggered);
    end(&mut scenario, Outcome::Partial);
    assert_eq!(scenario.reasons(), [(SOURCE.into(), 1, Reason::Blocked)]);
    scenario
}

fn end(scenario: &mut Scenario, outcome: Outcome) {
    let response = scenario.response();
    scenario.end(response, outcome);
}

/// Probes until a response is requested, and returns the number of seconds that it took.
fn seconds_until_request(scenario: &mut Scenario) -> u64 {
    for seconds in 0.. {
        assert_eq!(scenario.probe(SOURCE, 2), Reason::AlreadyBlocked);
        assert_eq!(scenario.reasons(), [(SOURCE.into(), 2, Reason::AlreadyBlocked)]);
        if scenario.engine.statistics().responses > 0 {
            return seconds;
        }
        scenario.wait(1);
    }
    unreachable!()
}

#[test]
fn a_host_blocked_in_part_is_blocked_and_the_rest_is_requested_after_a_growing_delay() {
    let mut scenario = blocked_in_part(blocking());
    assert!(scenario.engine.is_blocked(SOURCE.parse().unwrap()));
    let delays: Vec<u64> = [Outcome::Partial, Outcome::Failed, Outcome::Partial]
        .map(|outcome| {
            let delay = seconds_until_request(&mut scenario);
            // While the response runs, no probe waits.
            assert_eq!(scenario.probe(SOURCE, 3), Reason::AlreadyBlocked);
            assert_eq!(scenario.reasons(), [(SOURCE.into(), 3, Reason::AlreadyBlocked)]);
            end(&mut scenario, outcome);
            assert_eq!(scenario.reasons(), []);
            assert!(scenario.engine.is_blocked(SOURCE.parse().unwrap()));
            delay
        })
        .into();
    assert_eq!(delays, [5, 10, 20]);
    assert_eq!(seconds_until_request(&mut scenario), 40);
    end(&mut scenario, Outcome::Succeeded);
    scenario.wait(10_000);
    assert_eq!(scenario.probe(SOURCE, 2), Reason::AlreadyBlocked);
    assert_eq!(scenario.engine.poll_effect(), None);
    let statistics = scenario.engine.statistics();
    assert_eq!(statistics.decided(Reason::Blocked), 1);
    assert_eq!((statistics.responses, statistics.waiting), (0, 0));
}

#[test]
fn without_a_blocked_set_each_probe_triggers_a_whole_response() {
    let mut scenario = blocked_in_part(Policy { remember_blocked: false, ..blocking() });
    for port in 2..4 {
        assert_eq!(scenario.probe(SOURCE, port), Reason::Triggered);
        end(&mut scenario, Outcome::Partial);
        assert_eq!(scenario.reasons(), [(SOURCE.into(), port, Reason::Blocked)]);
    }
}

#[test]
fn limits_delay_the_rest_of_a_response_without_a_report() {
    let mut scenario = blocked_in_part(Policy { block_rate: 1, ..blocking() });
    assert_eq!(seconds_until_request(&mut scenario), 60);
    // The responder refuses, and the rest remains due.
    let response = scenario.response();
    let until = scenario.now.after(Duration::from_secs(7));
    scenario.engine.refuse(response.id, 1, until, scenario.now);
    assert_eq!(seconds_until_request(&mut scenario), 7);
    let response = scenario.response();
    let until = scenario.now.after(Duration::from_secs(90));
    scenario.engine.prevent(response.id, PreventionScope::Port, until, scenario.now);
    assert_eq!(seconds_until_request(&mut scenario), 90);
    end(&mut scenario, Outcome::Succeeded);
    assert_eq!(scenario.engine.statistics().decided(Reason::RateLimited), 0);
}

#[test]
fn a_host_that_leaves_the_blocked_set_meanwhile_waits_like_any_other() {
    let mut scenario = blocked_in_part(blocking());
    seconds_until_request(&mut scenario);
    let response = scenario.response();
    assert!(scenario.engine.forget(SOURCE.parse().unwrap()));
    assert_eq!(scenario.probe(SOURCE, 4), Reason::Responding);
    assert_eq!(scenario.engine.statistics().waiting, 1);
    scenario.end(response, Outcome::Failed);
    assert_eq!(scenario.reasons(), [(SOURCE.into(), 4, Reason::RetryLater)]);
    assert_eq!(scenario.engine.statistics().waiting, 0);
}

#[test]
fn a_response_without_outcome_is_requested_again() {
    let limits = Limits::default().response_timeout(Some(Duration::from_secs(90)));
    let mut scenario = Scenario::with_limits(blocking(), &limits);
    scenario.probe(SOURCE, 1);
    end(&mut scenario, Outcome::Partial);
    scenario.lines();
    seconds_until_request(&mut scenario);
    scenario.wait(90);
    scenario.engine.handle_timeout(scenario.now);
    assert_eq!((scenario.engine.poll_effect(), scenario.reasons()), (None, Vec::new()));
    assert_eq!(seconds_until_request(&mut scenario), 10);
}
