//! How many datagrams are answered.
//!
//! The source of a datagram may be forged, and then the answer goes to a
//! victim. So answers are few: a share for each network, and one for all
//! together, which makes the sentry useless as an amplifier (RFC 5358 has the
//! problem). Memory is a fixed table; no flood can make it grow.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;

use portsentry_core::Instant;

/// Shares of networks. NetworkSet that meet in one share it: the limit gets
/// stricter then, and never looser.
const SHARES: usize = 4096;

const MINUTE_NANOS: u64 = 60_000_000_000;

/// Says of each datagram whether it may be answered. 32 KiB.
#[derive(Debug)]
pub(super) struct AnswerLimit {
    per_network: Rate,
    in_all: Rate,
    networks: Box<[Share]>,
    all: Share,
    key: RandomState,
}

/// Whether to answer, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Allowed,
    NetworkHadEnough,
    AllHadEnough,
}

/// Answers a minute, all of which may come at once.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Nanoseconds of a minute that one answer uses up; `None`: no answers.
    cost: Option<u64>,
}

/// The generic cell rate algorithm (ITU-T I.371): when, in nanoseconds, the
/// answers given so far would have been given at an even pace.
#[derive(Clone, Copy, Debug, Default)]
struct Share(u64);

impl AnswerLimit {
    /// Both limits are answers a minute.
    pub(super) fn new(per_network: u32, in_all: u32) -> Self {
        Self {
            per_network: Rate::per_minute(per_network),
            in_all: Rate::per_minute(in_all),
            networks: vec![Share::default(); SHARES].into(),
            all: Share::default(),
            key: RandomState::new(),
        }
    }

    /// Whether `source` may be answered now; if so, the answer is counted.
    pub(super) fn ask(&mut self, source: IpAddr, now: Instant) -> Answer {
        let now = now.as_nanos();
        let slot = self.key.hash_one(network(source)) % SHARES as u64;
        let Some(share) = usize::try_from(slot).ok().and_then(|it| self.networks.get_mut(it))
        else {
            return Answer::NetworkHadEnough;
        };
        let Some(network) = share.after_one_more(self.per_network, now) else {
            return Answer::NetworkHadEnough;
        };
        let Some(all) = self.all.after_one_more(self.in_all, now) else {
            return Answer::AllHadEnough;
        };
        (*share, self.all) = (network, all);
        Answer::Allowed
    }
}

impl Rate {
    fn per_minute(answers: u32) -> Self {
        Self { cost: MINUTE_NANOS.checked_div(answers.into()) }
    }
}

impl Share {
    /// The share once one more answer is given, `None` if that is too many.
    fn after_one_more(self, rate: Rate, now: u64) -> Option<Self> {
        let due = self.0.max(now).saturating_add(rate.cost?);
        (due - now <= MINUTE_NANOS).then_some(Self(due))
    }
}

/// What one site has to itself: a /24 of IPv4, a /64 of IPv6.
fn network(source: IpAddr) -> (bool, u64) {
    match source {
        IpAddr::V4(source) => (true, u64::from(source.to_bits() >> 8)),
        IpAddr::V6(source) => (false, (source.to_bits() >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(limit: &mut AnswerLimit, source: &str, second: u64) -> bool {
        let source = source.parse().unwrap();
        limit.ask(source, Instant::from_secs(second)) == Answer::Allowed
    }

    fn count(limit: &mut AnswerLimit, source: &str, second: u64) -> usize {
        (0..1000).filter(|_| allowed(limit, source, second)).count()
    }

    #[test]
    fn a_network_has_its_share_and_gets_it_back_in_time() {
        let mut limit = AnswerLimit::new(10, 1_000_000);
        assert_eq!(count(&mut limit, "192.0.2.1", 100), 10);
        assert_eq!(count(&mut limit, "192.0.2.200", 100), 0, "the same /24");
        assert_eq!(count(&mut limit, "192.0.3.1", 100), 10, "another /24");
        assert_eq!(count(&mut limit, "2001:db8::1", 100), 10);
        assert_eq!(count(&mut limit, "2001:db8::ffff:1", 100), 0, "the same /64");
        assert_eq!(count(&mut limit, "2001:db8:0:1::1", 100), 10, "another /64");
        assert_eq!(count(&mut limit, "192.0.2.1", 105), 0);
        assert_eq!(count(&mut limit, "192.0.2.1", 106), 1);
        assert_eq!(count(&mut limit, "192.0.2.1", 130), 4);
        assert_eq!(count(&mut limit, "192.0.2.1", 10_000), 10);
    }

    #[test]
    fn all_networks_together_have_a_share() {
        let mut limit = AnswerLimit::new(10, 100);
        let source = |n: u32| IpAddr::from((0x0a00_0000 + (n << 8)).to_be_bytes());
        let mut answers = [0, 0, 0];
        for n in 0..100_000 {
            answers[limit.ask(source(n), Instant::from_secs(7)) as usize] += 1;
        }
        assert_eq!(answers[Answer::Allowed as usize], 100);
        assert!(answers[Answer::AllHadEnough as usize] > 0);
        // What was refused used up nobody's share.
        assert_eq!(count(&mut limit, "192.0.2.1", 7 + 60), 10);
    }

    #[test]
    fn none_means_none() {
        assert_eq!(count(&mut AnswerLimit::new(0, 100), "192.0.2.1", 1), 0);
        assert_eq!(count(&mut AnswerLimit::new(10, 0), "192.0.2.1", 1), 0);
    }

    #[test]
    fn a_clock_at_its_end_does_no_harm() {
        let mut limit = AnswerLimit::new(10, 100);
        let end = Instant::from_nanos(u64::MAX);
        for _ in 0..100 {
            limit.ask("192.0.2.1".parse().unwrap(), end);
        }
    }
}
