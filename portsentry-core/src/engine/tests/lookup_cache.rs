//! What is noted of a source beside its counter holds as long as it is true.

use ipnet::IpNet;

use super::*;

const SCANNER: &str = "192.0.2.7";

/// Takes notes: it counts, and has blocked hosts to remember.
fn noting() -> Policy {
    Policy { scan_trigger: 2, ..blocking() }
}

/// The scanner has a note that says that it is not blocked.
fn noted() -> Scenario {
    let mut scenario = Scenario::with_limits(noting(), &Limits { blocked: 1, ..Limits::default() });
    scenario.probe(SCANNER, 1);
    assert_eq!(scenario.probe(SCANNER, 1), Reason::Triggered);
    scenario
}

/// The response to the scanner has succeeded, and the scanner has a note that says so.
fn noted_as_blocked() -> Scenario {
    let mut scenario = noted();
    let response = scenario.response();
    scenario.end(response, Outcome::Succeeded);
    for _ in 0..2 {
        assert_eq!(scenario.probe(SCANNER, 2), Reason::AlreadyBlocked);
    }
    scenario
}

#[test]
fn a_source_that_is_put_on_the_ignore_list_is_ignored_and_no_longer_when_it_is_taken_off() {
    let mut scenario = noted_as_blocked();
    let network: IpNet = "192.0.2.0/24".parse().unwrap();
    scenario.engine.set_policy(Policy { ignore: [network].into_iter().collect(), ..noting() });
    assert_eq!(scenario.probe(SCANNER, 3), Reason::IgnoreList);
    scenario.engine.set_policy(noting());
    assert_eq!(scenario.probe(SCANNER, 3), Reason::AlreadyBlocked);
}

#[test]
fn a_host_that_is_restored_after_its_first_probes_is_blocked() {
    let mut scenario = noted();
    let response = scenario.response();
    scenario.end(response, Outcome::Failed);
    assert_eq!(scenario.probe(SCANNER, 2), Reason::RetryLater);
    scenario.engine.restore_blocked([SCANNER.parse().unwrap()]);
    assert_eq!(scenario.probe(SCANNER, 3), Reason::AlreadyBlocked);
}

#[test]
fn a_host_that_is_forgotten_for_another_is_responded_to_again() {
    let mut scenario = noted_as_blocked();
    scenario.probe("192.0.2.8", 1);
    assert_eq!(scenario.probe("192.0.2.8", 1), Reason::Triggered);
    let response = scenario.response();
    scenario.end(response, Outcome::Succeeded);
    assert_eq!(scenario.probe(SCANNER, 3), Reason::Triggered);
}
