//! Rate limit for replies to datagrams.
//!
//! The source of a datagram may be forged, and then the reply goes to a victim. So the replies
//! to each network, and to all networks together, are limited, which makes portsentry useless
//! as an amplifier (RFC 5358 describes the attack). The table has a fixed size, so no flood can
//! make it grow.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;

use portsentry_core::Instant;

/// Number of slots for networks. Networks in the same slot share its limit, which then is
/// stricter for each of them.
const SLOTS: usize = 4096;

const MINUTE_NANOS: u64 = 60_000_000_000;

/// Decides for each datagram whether to send a reply. 32 KiB.
#[derive(Debug)]
pub(super) struct AnswerLimit {
    per_network: Rate,
    in_all: Rate,
    networks: Box<[Share]>,
    all: Share,
    key: RandomState,
}

/// Whether to send a reply, and if not, the limit that was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    Allowed,
    NetworkLimit,
    TotalLimit,
}

/// Replies per minute. All replies of a minute may be sent in one burst.
#[derive(Clone, Copy, Debug)]
struct Rate {
    /// Nanoseconds of a minute that one reply uses; `None` allows no replies.
    cost: Option<u64>,
}

/// State of the generic cell rate algorithm (ITU-T I.371): the time, in nanoseconds, at which
/// the last reply would be due at an even pace.
#[derive(Clone, Copy, Debug, Default)]
struct Share(u64);

impl AnswerLimit {
    /// Creates limits of `per_network` and `in_all` replies per minute.
    pub(super) fn new(per_network: u32, in_all: u32) -> Self {
        Self {
            per_network: Rate::per_minute(per_network),
            in_all: Rate::per_minute(in_all),
            networks: vec![Share::default(); SLOTS].into(),
            all: Share::default(),
            key: RandomState::new(),
        }
    }

    /// Decides whether to reply to `source` now, and counts the reply if so.
    pub(super) fn decide(&mut self, source: IpAddr, now: Instant) -> Decision {
        let now = now.as_nanos();
        let slot = self.key.hash_one(network(source)) % SLOTS as u64;
        let Some(share) = usize::try_from(slot).ok().and_then(|it| self.networks.get_mut(it))
        else {
            return Decision::NetworkLimit;
        };
        let Some(network) = share.after_reply(self.per_network, now) else {
            return Decision::NetworkLimit;
        };
        let Some(all) = self.all.after_reply(self.in_all, now) else {
            return Decision::TotalLimit;
        };
        (*share, self.all) = (network, all);
        Decision::Allowed
    }
}

impl Rate {
    fn per_minute(replies: u32) -> Self {
        Self { cost: MINUTE_NANOS.checked_div(replies.into()) }
    }
}

impl Share {
    /// Returns the state after one more reply, `None` if that exceeds the limit.
    fn after_reply(self, rate: Rate, now: u64) -> Option<Self> {
        let due = self.0.max(now).saturating_add(rate.cost?);
        (due - now <= MINUTE_NANOS).then_some(Self(due))
    }
}

/// Returns the usual network of one site: a /24 of IPv4, a /64 of IPv6.
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
        limit.decide(source, Instant::from_secs(second)) == Decision::Allowed
    }

    fn count(limit: &mut AnswerLimit, source: &str, second: u64) -> usize {
        (0..1000).filter(|_| allowed(limit, source, second)).count()
    }

    #[test]
    fn a_network_has_a_limit_that_time_renews() {
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
    fn all_networks_together_have_a_limit() {
        let mut limit = AnswerLimit::new(10, 100);
        let source = |n: u32| IpAddr::from((0x0a00_0000 + (n << 8)).to_be_bytes());
        let mut answers = [0, 0, 0];
        for n in 0..100_000 {
            answers[limit.decide(source(n), Instant::from_secs(7)) as usize] += 1;
        }
        assert_eq!(answers[Decision::Allowed as usize], 100);
        assert!(answers[Decision::TotalLimit as usize] > 0);
        // A refused reply counts for no network.
        assert_eq!(count(&mut limit, "192.0.2.1", 7 + 60), 10);
    }

    #[test]
    fn a_limit_of_zero_allows_no_reply() {
        assert_eq!(count(&mut AnswerLimit::new(0, 100), "192.0.2.1", 1), 0);
        assert_eq!(count(&mut AnswerLimit::new(10, 0), "192.0.2.1", 1), 0);
    }

    #[test]
    fn a_clock_at_its_maximum_does_not_overflow() {
        let mut limit = AnswerLimit::new(10, 100);
        let end = Instant::from_nanos(u64::MAX);
        for _ in 0..100 {
            limit.decide("192.0.2.1".parse().unwrap(), end);
        }
    }
}
