//! Several engines that share the sources decide like one engine for each source.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// A step of a scenario.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// A probe from the source with this number to this port; over UDP if true.
    Probe(u8, u16, bool),
    Wait(u64),
    /// The outcome of the response to this source, if there is one.
    End(u8, Outcome),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Succeeded),
        1 => Just(Outcome::Partial),
        1 => Just(Outcome::Failed),
    ];
    prop_oneof![
        6 => (0_u8..8, 1_u16..4, any::<bool>()).prop_map(|(s, p, udp)| Step::Probe(s, p, udp)),
        1 => (0_u64..40).prop_map(Step::Wait),
        2 => (0_u8..8, outcome).prop_map(|(source, outcome)| Step::End(source, outcome)),
    ]
}

/// Returns the address of a source: IPv4 for even numbers, IPv6 for odd ones.
fn source(number: u8) -> String {
    if number % 2 == 0 { format!("192.0.2.{number}") } else { format!("2001:db8::{number}") }
}

/// Engines that share the sources, with one common rate limit.
struct Several {
    engines: Vec<Engine>,
    rate: RateLimit,
    limit: u32,
    under_way: BTreeMap<String, Response>,
    now: Instant,
}

impl Several {
    fn new(engines: usize, policy: &Policy) -> Self {
        let limits = Limits::default().divided_by(engines);
        let engine = |first| {
            let engine = Engine::new(policy.clone(), &limits, HashKey::new(7));
            engine.with_response_ids(first, engines as u64)
        };
        Self {
            engines: (0..engines as u64).map(engine).collect(),
            rate: RateLimit::default(),
            limit: policy.block_rate,
            under_way: BTreeMap::new(),
            now: Instant::from_secs(1_000),
        }
    }

    /// Returns the reported reasons of each source, in order.
    fn run(&mut self, steps: &[Step], owner: impl Fn(u8) -> usize) -> Vec<(String, u16, Reason)> {
        let mut reported = Vec::new();
        for step in steps {
            let count = self.engines.len();
            let engine = |number: u8| owner(number) % count;
            match *step {
                Step::Wait(seconds) => self.now = self.now.after(Duration::from_secs(seconds)),
                Step::Probe(number, port, udp) => {
                    let probe = if udp { datagram_from } else { probe_from };
                    let observation = probe(&source(number), port).at(self.now);
                    self.engines[engine(number)].observe(&observation, self.now);
                }
                Step::End(number, outcome) => {
                    if let Some(response) = self.under_way.remove(&source(number)) {
                        let now = self.now;
                        self.engines[engine(number)].handle_outcome(response.id, outcome, now);
                    }
                }
            }
            self.respond();
            self.engines.iter_mut().for_each(|engine| reported.extend(reasons(engine)));
        }
        for engine in &mut self.engines {
            engine.close();
            reported.extend(reasons(engine));
        }
        reported.sort_by(|a, b| a.0.cmp(&b.0));
        reported
    }

    /// Starts responses, as many as the common limit allows.
    fn respond(&mut self) {
        let Self { engines, rate, limit, under_way, now } = self;
        let alone = engines.len() == 1;
        let count = engines.len() as u64;
        for (number, engine) in engines.iter_mut().enumerate() {
            while let Some(Effect::Respond(response)) = engine.poll_effect() {
                // A single engine applies the limit itself.
                if alone || rate.take(*now, *limit) {
                    let owner = response.id.as_u64() % count;
                    assert_eq!(owner, number as u64, "the number identifies the engine");
                    under_way.insert(response.probe.source.to_string(), response);
                } else {
                    engine.refuse(response.id, *limit, rate.free_at(*limit), *now);
                }
            }
        }
    }
}

fn reasons(engine: &mut Engine) -> Vec<(String, u16, Reason)> {
    core::iter::from_fn(|| engine.poll_event())
        .filter_map(|event| match event {
            Event::Probe(Probe { observation, reason }) => {
                Some((observation.source.to_string(), observation.target_port, reason))
            }
            _ => None,
        })
        .collect()
}

proptest! {
    #[test]
    fn several_engines_decide_as_one(
        steps in prop::collection::vec(step(), 1..200),
        owners in prop::collection::vec(0_usize..5, 8),
        scan_trigger in 0_u16..4,
        remember_blocked in any::<bool>(),
        block_rate in 0_u32..4,
    ) {
        let policy = Policy { scan_trigger, remember_blocked, block_rate, ..blocking() };
        let one = Several::new(1, &policy).run(&steps, |_| 0);
        let owner = |number| owners[usize::from(number)];
        prop_assert_eq!(&one, &Several::new(5, &policy).run(&steps, owner));
        // The same with engines without a rate limit.
        let mut several = Several::new(5, &Policy { block_rate: 0, ..policy });
        several.limit = block_rate;
        prop_assert_eq!(&one, &several.run(&steps, owner));
    }
}

#[test]
fn the_sum_of_shares_is_at_most_the_whole() {
    let whole = Limits::default();
    for engines in 1..=16 {
        let share = whole.divided_by(engines);
        let fields = |limits: &Limits| {
            [
                limits.sources,
                limits.served_lines,
                limits.blocked,
                limits.blocked_v6,
                limits.responses,
                limits.waiting,
                limits.failed,
                limits.events,
            ]
        };
        for (share, whole) in fields(&share).into_iter().zip(fields(&whole)) {
            assert!(share * engines <= whole && (share + 1) * engines > whole, "{share} {whole}");
        }
    }
}

#[test]
fn a_cancelled_response_leaves_no_state() {
    // With a rate limit in the engine, and without.
    for block_rate in [5, 0] {
        let mut scenario = Scenario::new(Policy { block_rate, ..blocking() });
        assert_eq!(scenario.probe("192.0.2.1", 1), Reason::Triggered);
        assert_eq!(scenario.probe("192.0.2.1", 2), Reason::Responding);
        let response = scenario.response();
        let until = scenario.now.after(Duration::from_secs(9));
        scenario.engine.refuse(response.id, 3, until, scenario.now);
        // A second call has no effect.
        scenario.engine.refuse(response.id, 3, until, scenario.now);
        let of = |port| ("192.0.2.1".into(), port, Reason::RateLimited);
        assert_eq!(scenario.reasons(), vec![of(1), of(2)]);
        assert_eq!(scenario.engine.statistics().responses, 0);
        assert_eq!(scenario.engine.statistics().waiting, 0);
        scenario.wait(8);
        assert_eq!(scenario.probe("192.0.2.2", 1), Reason::RateLimited);
        scenario.wait(1);
        assert_eq!(scenario.probe("192.0.2.1", 1), Reason::Triggered);
        scenario.wait(60);
        scenario.engine.handle_timeout(scenario.now);
        assert_eq!(
            scenario.lines().pop().as_deref(),
            Some("Did not respond to 3 probes: more than 3 responses per minute (BLOCK_RATE)")
        );
    }
}

#[test]
fn a_new_policy_without_a_rate_limit_keeps_the_limit_of_the_summary() {
    let policy = Policy { block_rate: 0, ..blocking() };
    let mut scenario = Scenario::new(policy.clone());
    assert_eq!(scenario.probe("192.0.2.1", 1), Reason::Triggered);
    let response = scenario.response();
    let until = scenario.now.after(Duration::from_secs(9));
    scenario.engine.refuse(response.id, 3, until, scenario.now);
    assert_eq!(scenario.reasons().len(), 1);
    scenario.engine.set_policy(policy);
    scenario.engine.close();
    assert_eq!(
        scenario.lines(),
        ["Did not respond to 1 probes: more than 3 responses per minute (BLOCK_RATE)"]
    );
}
