//! One packet that is seen on two interfaces is one probe.
//!
//! A packet for a bridge is captured on the port and on the bridge, one for a
//! VLAN on the trunk and on the VLAN's interface. Here the second sight of it is
//! recognised: the same header fields, from another interface, within
//! milliseconds. The memory is a fixed table; when two packets want one slot,
//! the later has it, and a duplicate may slip through as a probe of its own.

use portsentry_core::{Evidence, Observation, Timestamp};

/// Slots: more packets than two captures drift apart by at 200,000 a second.
const SLOTS: usize = 4096;

/// The kernel hands a packet from one interface to the other in microseconds,
/// in a few milliseconds under load. A retransmission takes longer, and comes
/// in by the same interface.
const WINDOW_NANOS: u64 = 10_000_000;

/// Recognises packets that were seen on another interface. 400 KiB.
#[derive(Debug)]
pub(super) struct Duplicates {
    seen: Box<[Option<Observation>]>,
}

impl Duplicates {
    pub(super) fn new() -> Self {
        Self { seen: vec![None; SLOTS].into() }
    }

    /// Whether another interface showed this packet just now. One look-up.
    pub(super) fn is_duplicate(&mut self, observation: &Observation) -> bool {
        let Some(slot) = self.seen.get_mut(slot(observation)) else { return false };
        if let Some(before) = slot
            && before.interface != observation.interface
            && near(before.time, observation.time)
            && same_packet(before, observation)
        {
            return true;
        }
        *slot = Some(*observation);
        false
    }
}

fn same_packet(a: &Observation, b: &Observation) -> bool {
    *a == Observation { time: a.time, interface: a.interface, ..*b }
}

fn near(a: Timestamp, b: Timestamp) -> bool {
    a.as_nanos().abs_diff(b.as_nanos()) <= WINDOW_NANOS
}

/// Spread by what differs between the packets of one scan. Who knows this can
/// make packets meet, and gains no more than duplicates of his own probes.
fn slot(observation: &Observation) -> usize {
    let sequence = match observation.evidence {
        Evidence::Segment(segment) => segment.sequence,
        _ => 0,
    };
    let ports = u64::from(observation.source_port) << 16 | u64::from(observation.target_port);
    let mixed = (ports ^ u64::from(observation.ip_id) << 24 ^ u64::from(sequence) << 32)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use portsentry_core::{IpOptions, TcpFlags, TcpSegment};

    use super::*;

    fn probe(interface: u32, nanos: i64) -> Observation {
        let segment = TcpSegment { flags: TcpFlags::SYN, sequence: 77, window: 1024 };
        Observation {
            time: Timestamp::from_nanos(nanos),
            interface,
            source: "192.0.2.1".parse().unwrap(),
            target: "192.0.2.2".parse().unwrap(),
            source_port: 40_000,
            target_port: 23,
            evidence: Evidence::Segment(segment),
            ip_options: IpOptions::Absent,
            ttl: 64,
            ip_id: 9,
        }
    }

    #[test]
    fn only_the_same_packet_from_elsewhere_is_a_duplicate() {
        let check = |name: &str, second: Observation, expected: bool| {
            let mut duplicates = Duplicates::new();
            assert!(!duplicates.is_duplicate(&probe(1, 1_000)));
            assert_eq!(duplicates.is_duplicate(&second), expected, "{name}");
        };
        let seen = probe(2, 5_000);
        check("bridge after port", seen, true);
        check("read in the other order", probe(2, 0), true);
        check("same interface: sent twice", probe(1, 5_000), false);
        check("much later", probe(2, 11_000_000), false);
        check(
            "another source",
            Observation { source: "192.0.2.9".parse().unwrap(), ..seen },
            false,
        );
        check(
            "another target",
            Observation { target: "192.0.2.9".parse().unwrap(), ..seen },
            false,
        );
        check("another port", Observation { target_port: 24, ..seen }, false);
        check("another identification", Observation { ip_id: 10, ..seen }, false);
        check("another protocol", Observation { evidence: Evidence::Datagram, ..seen }, false);
        check("one hop further", Observation { ttl: 63, ..seen }, false);
    }

    #[test]
    fn a_whole_burst_is_remembered() {
        let mut duplicates = Duplicates::new();
        let burst = |interface| {
            (1..=256).map(move |port| Observation {
                target_port: port,
                ..probe(interface, i64::from(port))
            })
        };
        assert_eq!(burst(1).filter(|it| duplicates.is_duplicate(it)).count(), 0);
        let found = burst(2).filter(|it| duplicates.is_duplicate(it)).count();
        // A few slots may be shared.
        assert!(found >= 240, "{found} of 256");
    }
}
