//! Probes that wait for responses, and responses that are bounded.

use super::*;

#[test]
fn a_probe_waits_for_the_outcome_of_its_response() {
    let mut scenario = Scenario::new(blocking());
    assert_eq!(scenario.probe("192.0.2.7", 1), Reason::Triggered);
    assert_eq!(scenario.probe("192.0.2.7", 2), Reason::Responding);
    assert_eq!(scenario.probe("192.0.2.8", 3), Reason::Triggered);
    assert_eq!(scenario.lines(), Vec::<String>::new());

    let (first, second) = (scenario.response(), scenario.response());
    assert_eq!(first.probe, probe_from("192.0.2.7", 1).at(scenario.now));
    assert_eq!(scenario.engine.poll_effect(), None);
    assert!(!scenario.engine.is_blocked(first.probe.source));

    scenario.end(second, Outcome::Succeeded);
    assert_eq!(scenario.reasons(), vec![("192.0.2.8".into(), 3, Reason::Blocked)]);
    scenario.end(first, Outcome::Succeeded);
    assert_eq!(
        scenario.reasons(),
        vec![
            ("192.0.2.7".into(), 1, Reason::Blocked),
            ("192.0.2.7".into(), 2, Reason::AlreadyBlocked),
        ]
    );
    assert_eq!(scenario.probe("192.0.2.7", 4), Reason::AlreadyBlocked);
    assert_eq!(scenario.engine.statistics().blocked, 2);
}

#[test]
fn an_outcome_counts_once() {
    let mut scenario = Scenario::new(blocking());
    scenario.probe("192.0.2.7", 1);
    let response = scenario.response();
    scenario.end(response, Outcome::Failed);
    scenario.end(response, Outcome::Succeeded);
    assert_eq!(scenario.reasons(), vec![("192.0.2.7".into(), 1, Reason::ResponseFailed)]);
    assert!(!scenario.engine.is_blocked(response.probe.source));
}

#[test]
fn a_failed_response_is_retried_after_a_growing_delay() {
    let mut scenario = Scenario::new(blocking());
    let mut delays = Vec::new();
    for _ in 0..14 {
        let mut delay = 0;
        while scenario.probe("192.0.2.7", 1) == Reason::RetryLater {
            scenario.wait(1);
            delay += 1;
        }
        delays.push(delay);
        let response = scenario.response();
        scenario.end(response, Outcome::Failed);
    }
    assert_eq!(delays, [0, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
    assert!(!scenario.engine.is_blocked("192.0.2.7".parse().unwrap()));
}

#[test]
fn probes_that_waited_for_a_failure_are_not_blocked() {
    let mut scenario = Scenario::new(blocking());
    scenario.probe("192.0.2.7", 1);
    scenario.probe("192.0.2.7", 2);
    let response = scenario.response();
    scenario.end(response, Outcome::Failed);
    let lines = scenario.lines();
    assert_eq!(lines.len(), 2);
    for line in lines {
        assert!(line.ends_with(&tail("false", "true", "false", "false")), "{line}");
    }
}

#[test]
fn without_a_blocked_set_every_probe_triggers_a_response_one_at_a_time() {
    let mut scenario = Scenario::new(Policy { remember_blocked: false, ..blocking() });
    for port in 1..=3 {
        scenario.probe("192.0.2.7", port);
    }
    for port in 1..=3 {
        let response = scenario.response();
        assert_eq!(response.probe.target_port, port);
        assert_eq!(scenario.engine.poll_effect(), None, "two responses to one host at a time");
        scenario.end(response, Outcome::Succeeded);
        assert_eq!(scenario.reasons(), vec![("192.0.2.7".into(), port, Reason::Blocked)]);
    }
    assert_eq!(scenario.engine.statistics().responses, 0);
    assert_eq!(scenario.engine.statistics().waiting, 0);
}

#[test]
fn responses_are_limited_per_minute() {
    let mut scenario = Scenario::new(Policy { block_rate: 2, ..blocking() });
    assert_eq!(scenario.probe("192.0.2.1", 1), Reason::Triggered);
    scenario.wait(30);
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Triggered);
    assert_eq!(scenario.probe("192.0.2.3", 1), Reason::RateLimited);
    scenario.wait(29);
    assert_eq!(scenario.probe("192.0.2.3", 1), Reason::RateLimited);
    scenario.wait(1);
    assert_eq!(scenario.probe("192.0.2.3", 1), Reason::Triggered);
    assert_eq!(scenario.probe("192.0.2.4", 1), Reason::RateLimited);

    let lines = scenario.lines();
    assert!(lines[0].ends_with(&tail("false", "true", "true", "false")), "{}", lines[0]);
    scenario.wait(30);
    assert_eq!(scenario.engine.poll_timeout(), Some(scenario.now));
    scenario.engine.handle_timeout(scenario.now);
    assert_eq!(
        scenario.lines(),
        ["Did not respond to 3 probes: more than 2 responses per minute (BLOCK_RATE)"]
    );
    // The oldest response has no outcome yet.
    let timeout = Duration::from_secs(3600);
    assert_eq!(scenario.engine.poll_timeout(), Some(Instant::from_secs(1_000).after(timeout)));
}

#[test]
fn responses_in_progress_are_bounded_and_reported() {
    let limits = Limits { responses: 2, waiting: 1, ..Limits::default() };
    let mut scenario = Scenario::with_limits(blocking(), &limits);
    assert_eq!(scenario.probe("192.0.2.1", 1), Reason::Triggered);
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Triggered);
    assert_eq!(scenario.probe("192.0.2.3", 1), Reason::Overloaded);
    assert_eq!(scenario.probe("192.0.2.1", 2), Reason::Responding);
    assert_eq!(scenario.probe("192.0.2.1", 3), Reason::Overloaded);
    let response = scenario.response();
    scenario.end(response, Outcome::Succeeded);
    assert_eq!(scenario.probe("192.0.2.3", 1), Reason::Triggered);
    scenario.engine.close();
    let lines = scenario.lines();
    assert_eq!(
        lines.last().map(String::as_str),
        Some("Did not respond to 2 probes: too many responses in progress")
    );
}

#[test]
fn failed_hosts_are_bounded_too() {
    let limits = Limits { failed: 2, ..Limits::default() };
    let mut scenario = Scenario::with_limits(blocking(), &limits);
    for host in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        scenario.probe(host, 1);
        let response = scenario.response();
        scenario.end(response, Outcome::Failed);
        scenario.wait(1);
    }
    assert_eq!(scenario.probe("192.0.2.3", 1), Reason::RetryLater);
    assert_eq!(scenario.probe("192.0.2.1", 1), Reason::Triggered, "the oldest failure is evicted");
}

#[test]
fn closing_reports_every_waiting_probe() {
    let mut scenario = Scenario::new(blocking());
    scenario.probe("192.0.2.7", 1);
    scenario.probe("192.0.2.7", 2);
    scenario.probe("192.0.2.8", 3);
    assert_eq!(scenario.engine.close(), 2);
    assert_eq!(
        scenario.reasons(),
        vec![
            ("192.0.2.7".into(), 1, Reason::ResponseFailed),
            ("192.0.2.7".into(), 2, Reason::ResponseFailed),
            ("192.0.2.8".into(), 3, Reason::ResponseFailed),
        ]
    );
    assert_eq!(scenario.engine.poll_effect(), None);
    assert_eq!(scenario.engine.statistics().waiting, 0);
}

/// Without a timeout, responses without an outcome once blocked all others forever.
#[test]
fn responses_without_outcome_time_out() {
    let limits = Limits::default().responses(2).response_timeout(Some(Duration::from_secs(90)));
    let mut scenario = Scenario::with_limits(blocking(), &limits);
    assert_eq!(scenario.probe("192.0.2.1", 1), Reason::Triggered);
    let lost = scenario.response();
    scenario.wait(10);
    assert_eq!(scenario.probe("192.0.2.2", 1), Reason::Triggered);
    assert_eq!(scenario.probe("192.0.2.3", 1), Reason::Overloaded);
    let answered = scenario.response();
    scenario.end(answered, Outcome::Succeeded);
    assert_eq!(scenario.probe("192.0.2.3", 1), Reason::Triggered);
    scenario.lines();

    let due = Instant::from_secs(1_000 + 60 + 10);
    assert_eq!(scenario.engine.poll_timeout(), Some(due), "the summary");
    scenario.engine.handle_timeout(due);
    scenario.lines();
    let due = Instant::from_secs(1_000 + 90);
    assert_eq!(scenario.engine.poll_timeout(), Some(due));
    scenario.now = due;
    scenario.engine.handle_timeout(due);
    assert_eq!(scenario.reasons(), vec![("192.0.2.1".into(), 1, Reason::ResponseFailed)]);
    assert_eq!(scenario.probe("192.0.2.1", 1), Reason::RetryLater);
    assert_eq!(scenario.engine.statistics().responses_timed_out, 1);
    // The outcome arrives too late.
    scenario.end(lost, Outcome::Succeeded);
    assert!(!scenario.engine.is_blocked("192.0.2.1".parse().unwrap()));

    // An effect that the caller has not taken is withdrawn.
    scenario.now = Instant::from_secs(1_000 + 100);
    scenario.engine.handle_timeout(scenario.now);
    assert_eq!(scenario.engine.poll_effect(), None);
    assert_eq!(scenario.engine.statistics().responses, 0);
    assert_eq!(scenario.engine.poll_timeout(), None);
}
