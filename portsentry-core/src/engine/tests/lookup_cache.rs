//! Cached lookups of a source are valid only as long as they are true.

use ipnet::IpNet;

use super::*;

const SCANNER: &str = "192.0.2.7";

/// Returns a policy with which the engine caches lookups: it counts probes and remembers
/// blocked hosts.
fn caching() -> Policy {
    Policy { scan_trigger: 2, ..blocking() }
}

/// Returns a scenario in which the scanner is cached as not blocked.
fn cached_as_free() -> Scenario {
    let mut scenario =
        Scenario::with_limits(caching(), &Limits { blocked: 1, ..Limits::default() });
    scenario.probe(SCANNER, 1);
    assert_eq!(scenario.probe(SCANNER, 1), Reason::Triggered);
    scenario
}

/// Returns a scenario in which the scanner is blocked, and cached as blocked.
fn cached_as_blocked() -> Scenario {
    let mut scenario = cached_as_free();
    let response = scenario.response();
    scenario.end(response, Outcome::Succeeded);
    for _ in 0..2 {
        assert_eq!(scenario.probe(SCANNER, 2), Reason::AlreadyBlocked);
    }
    scenario
}

#[test]
fn a_change_of_the_ignore_list_applies_to_cached_sources() {
    let mut scenario = cached_as_blocked();
    let network: IpNet = "192.0.2.0/24".parse().unwrap();
    scenario.engine.set_policy(Policy { ignore: [network].into_iter().collect(), ..caching() });
    assert_eq!(scenario.probe(SCANNER, 3), Reason::IgnoreList);
    scenario.engine.set_policy(caching());
    assert_eq!(scenario.probe(SCANNER, 3), Reason::AlreadyBlocked);
}

#[test]
fn a_host_restored_after_its_first_probes_is_blocked() {
    let mut scenario = cached_as_free();
    let response = scenario.response();
    scenario.end(response, Outcome::Failed);
    assert_eq!(scenario.probe(SCANNER, 2), Reason::RetryLater);
    scenario.engine.restore_blocked([SCANNER.parse().unwrap()]);
    assert_eq!(scenario.probe(SCANNER, 3), Reason::AlreadyBlocked);
}

#[test]
fn an_evicted_host_triggers_a_response_again() {
    let mut scenario = cached_as_blocked();
    scenario.probe("192.0.2.8", 1);
    assert_eq!(scenario.probe("192.0.2.8", 1), Reason::Triggered);
    let response = scenario.response();
    scenario.end(response, Outcome::Succeeded);
    assert_eq!(scenario.probe(SCANNER, 3), Reason::Triggered);
}
