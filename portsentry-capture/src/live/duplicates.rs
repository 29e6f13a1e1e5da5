//! Recognises a packet that is captured on two interfaces, so that it counts as one probe.
//!
//! A packet to a bridge is captured on the port and on the bridge; one to a VLAN on the trunk and
//! on the interface of the VLAN. A duplicate has the same header fields, another interface, and a
//! time that differs by milliseconds. The table has a fixed size. If two packets have the same
//! slot, the later one replaces the other, whose duplicate then counts as a separate probe.

use portsentry_core::{Evidence, Observation, Timestamp};

/// Number of slots: at 200,000 packets per second, two captures differ by fewer.
const SLOTS: usize = 4096;

/// Maximum difference between the times of duplicates. The kernel passes a packet from one
/// interface to the other in microseconds, or a few milliseconds under load. A retransmission
/// takes longer, and arrives on the same interface.
const WINDOW_NANOS: u64 = 10_000_000;

/// Recognises packets that were captured on another interface before. 400 KiB.
#[derive(Debug)]
pub(super) struct Duplicates {
    seen: Box<[Option<Observation>]>,
}

impl Duplicates {
    pub(super) fn new() -> Self {
        Self { seen: vec![None; SLOTS].into() }
    }

    /// Returns whether another interface captured this packet just before. One lookup.
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
    *a == b.at(a.at).stamped(a.time).on(a.interface)
}

fn near(a: Timestamp, b: Timestamp) -> bool {
    a.as_nanos().abs_diff(b.as_nanos()) <= WINDOW_NANOS
}

/// Returns the slot, from the fields that differ between the packets of a scan. An attacker can
/// make packets share a slot, but the only effect is that their duplicates count as probes.
fn slot(observation: &Observation) -> usize {
    let sequence = match observation.evidence {
        Evidence::Segment(segment) => segment.sequence,
        _ => 0,
    };
    let ports = u64::from(observation.source_port) << 16 | u64::from(observation.target_port);
    let mixed = (ports
        ^ u64::from(observation.ip_id.unwrap_or_default()) << 24
        ^ u64::from(sequence) << 32)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 48) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use portsentry_core::{Instant, IpOptions, TcpFlags, TcpSegment};

    use super::*;

    fn probe(interface: u32, nanos: i64) -> Observation {
        let segment = TcpSegment::new(TcpFlags::SYN).with_sequence(77).with_window(1024);
        let [source, target] = [("192.0.2.1", 40_000), ("192.0.2.2", 23)]
            .map(|(address, port)| SocketAddr::new(address.parse().unwrap(), port));
        Observation::new(source, target, Evidence::Segment(segment))
            .at(Instant::from_nanos(nanos.unsigned_abs()))
            .stamped(Timestamp::from_nanos(nanos))
            .on(interface)
            .with_ip_options(IpOptions::Absent)
            .with_ttl(64)
            .with_ip_id(9)
    }

    #[test]
    fn only_the_same_packet_on_another_interface_is_a_duplicate() {
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
        type Change = fn(&mut Observation);
        let changes: [(&str, Change); 6] = [
            ("another source", |it| it.source = [192, 0, 2, 9].into()),
            ("another target", |it| it.target = [192, 0, 2, 9].into()),
            ("another port", |it| it.target_port = 24),
            ("another identification", |it| it.ip_id = Some(10)),
            ("another protocol", |it| it.evidence = Evidence::Datagram),
            ("one hop further", |it| it.ttl = Some(63)),
        ];
        for (name, change) in changes {
            let mut second = seen;
            change(&mut second);
            check(name, second, false);
        }
    }

    #[test]
    fn duplicates_of_a_burst_are_recognised() {
        let mut duplicates = Duplicates::new();
        let burst = |interface| {
            (1..=256).map(move |port| {
                let mut seen = probe(interface, i64::from(port));
                seen.target_port = port;
                seen
            })
        };
        assert_eq!(burst(1).filter(|it| duplicates.is_duplicate(it)).count(), 0);
        let found = burst(2).filter(|it| duplicates.is_duplicate(it)).count();
        // Some packets may share a slot.
        assert!(found >= 240, "{found} of 256");
    }
}
