//! Recognises a packet that is captured on two interfaces, so that it counts as one probe.
//!
//! A packet to a bridge is captured on the port and on the bridge; one to a VLAN on the trunk and
//! on the interface of the VLAN. Only such related interfaces capture the same packet, and the
//! kernel reports how they are related. On interfaces of different groups, the same header fields
//! belong to two packets.
//!
//! A sender may repeat a packet with the same header fields. So sightings are counted for each
//! interface: the second sighting on a bridge is a duplicate if its port has seen the packet twice.
//! No clock decides. The table has a fixed size. If it evicts a packet, the duplicate counts as a
//! separate probe.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use portsentry_core::{Instant, Observation};

use crate::Interface;

/// Number of remembered packets: 1 MiB. Captures of a host that receives 500,000 packets per
/// second differ by at most a tenth of it.
const PACKETS: usize = 1 << 14;

/// Slots of a bucket.
const WAYS: usize = 4;

/// Maximum number of interfaces that capture one packet: a port of a bond below a VLAN below a
/// bridge, and two more.
const INTERFACES: usize = 6;

/// Time after the last sighting at which a packet is forgotten. Sightings differ by milliseconds;
/// this only ends the effect of a packet that one of two captures has lost.
const FORGOTTEN: Duration = Duration::from_secs(10);

/// Kind of the interfaces of Open vSwitch. The kernel does not report which of them belong
/// together.
const OPEN_VSWITCH: &str = "openvswitch";

/// Recognises packets that were captured on another interface before.
#[derive(Debug)]
pub(super) struct Duplicates {
    groups: Groups,
    hash: RandomState,
    /// Buckets of [`WAYS`]; empty while there are no groups.
    seen: Box<[Seen]>,
}

/// A packet, and its number of sightings on each interface: one cache line.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Keyed hash of all header fields.
    packet: u64,
    last: Instant,
    /// Indices of the interfaces, 0 in free slots.
    interfaces: [u32; INTERFACES],
    sightings: [u32; INTERFACES],
}

impl Duplicates {
    /// Knows no groups of interfaces, so no packet is a duplicate.
    pub(super) fn new() -> Self {
        Self { groups: Groups::default(), hash: RandomState::new(), seen: Box::default() }
    }

    /// Learns how `interfaces` are related. If that has changed, all packets are forgotten.
    pub(super) fn set_interfaces(&mut self, interfaces: &[Interface]) {
        let groups = Groups::of(interfaces);
        if groups != self.groups {
            let packets = if groups.is_empty() { 0 } else { PACKETS };
            self.seen = vec![Seen::default(); packets].into();
            self.groups = groups;
        }
    }

    /// Returns whether a related interface captured this packet before. One comparison if no
    /// interfaces are related, otherwise one lookup.
    pub(super) fn is_duplicate(&mut self, observation: &Observation) -> bool {
        let Some(group) = self.groups.group(observation.interface) else { return false };
        let packet = self.packet(observation, group);
        let now = observation.at;
        let bucket = packet as usize % (PACKETS / WAYS) * WAYS;
        let Some(slots) = self.seen.get_mut(bucket..bucket + WAYS) else { return false };
        let known = slots.iter().position(|it| it.packet == packet);
        let oldest = || (0..WAYS).min_by_key(|slot| slots.get(*slot).map(|it| it.last));
        let Some(slot) = known.or_else(oldest).and_then(|slot| slots.get_mut(slot)) else {
            return false;
        };
        if slot.packet != packet || now.since(slot.last) > FORGOTTEN {
            *slot = Seen { packet, ..Seen::default() };
        }
        slot.last = now.max(slot.last);
        slot.sighting_is_known(observation.interface)
    }

    /// Returns the keyed hash of all fields that a packet has on each interface of a group.
    fn packet(&self, observation: &Observation, group: u32) -> u64 {
        let Observation { source, target, source_port, target_port, evidence, .. } = *observation;
        let Observation { ip_options, ttl, ip_id, .. } = *observation;
        let ends = (source, source_port, target, target_port);
        self.hash.hash_one((ends, evidence, ip_options, ttl, ip_id, group))
    }
}

impl Seen {
    /// Counts a sighting on `interface`. Returns whether another interface has as many.
    fn sighting_is_known(&mut self, interface: u32) -> bool {
        let (mut own, mut others) = (None, 0);
        for (index, sightings) in self.interfaces.iter_mut().zip(&mut self.sightings) {
            if own.is_none() && (*index == interface || *index == 0) {
                *index = interface;
                *sightings = sightings.saturating_add(1);
                own = Some(*sightings);
            } else {
                others = others.max(*sightings);
            }
        }
        own.is_some_and(|own| own <= others)
    }
}

/// The groups of related interfaces, each with a number.
#[derive(Debug, Default, PartialEq, Eq)]
struct Groups {
    /// Index of an interface and number of its group, ascending. Interfaces without relatives are
    /// not listed.
    members: Vec<(u32, u32)>,
}

impl Groups {
    /// Joins each interface with its master and its lower interface.
    fn of(interfaces: &[Interface]) -> Self {
        // The group of an interface is the lowest index in it.
        let mut group: BTreeMap<u32, u32> =
            interfaces.iter().map(|interface| (interface.index, interface.index)).collect();
        let switch = interfaces.iter().find(|it| it.kind.as_deref() == Some(OPEN_VSWITCH));
        for interface in interfaces {
            let same_switch = switch
                .filter(|_| interface.kind.as_deref() == Some(OPEN_VSWITCH))
                .map(|it| it.index);
            for relative in [interface.master, interface.lower, same_switch].into_iter().flatten() {
                if let (Some(&one), Some(&other)) =
                    (group.get(&interface.index), group.get(&relative))
                {
                    let (kept, joined) = (one.min(other), one.max(other));
                    for number in group.values_mut().filter(|number| **number == joined) {
                        *number = kept;
                    }
                }
            }
        }
        let mut sizes: BTreeMap<u32, usize> = BTreeMap::new();
        for number in group.values() {
            *sizes.entry(*number).or_default() += 1;
        }
        let has_relatives = |(_, number): &(u32, u32)| sizes.get(number).is_some_and(|it| *it > 1);
        Self { members: group.into_iter().filter(has_relatives).collect() }
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Returns the number of the group of `interface`.
    fn group(&self, interface: u32) -> Option<u32> {
        let at = self.members.binary_search_by_key(&interface, |(index, _)| *index).ok()?;
        self.members.get(at).map(|(_, number)| *number)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use portsentry_core::{Evidence, IpOptions, TcpFlags, TcpSegment, Timestamp};

    use super::*;

    const PORT: u32 = 1;
    const BRIDGE: u32 = 2;
    const OTHER: u32 = 3;

    fn probe(interface: u32, nanos: u64) -> Observation {
        let segment = TcpSegment::new(TcpFlags::SYN).with_sequence(77).with_window(1024);
        let [source, target] = [("192.0.2.1", 40_000), ("192.0.2.2", 23)]
            .map(|(address, port)| SocketAddr::new(address.parse().unwrap(), port));
        Observation::new(source, target, Evidence::Segment(segment))
            .at(Instant::from_nanos(nanos))
            .stamped(Timestamp::from_nanos(nanos as i64))
            .on(interface)
            .with_ip_options(IpOptions::Absent)
            .with_ttl(64)
            .with_ip_id(9)
    }

    fn interface(index: u32, master: Option<u32>, lower: Option<u32>) -> Interface {
        Interface { master, lower, ..Interface::new(format!("eth{index}"), index) }
    }

    /// Knows a port, its bridge, and an interface without relatives.
    fn duplicates() -> Duplicates {
        let mut duplicates = Duplicates::new();
        duplicates.set_interfaces(&[
            interface(PORT, Some(BRIDGE), None),
            interface(BRIDGE, None, None),
            interface(OTHER, None, None),
        ]);
        duplicates
    }

    #[test]
    fn an_entry_is_a_cache_line() {
        assert_eq!(size_of::<Seen>(), 64);
    }

    #[test]
    fn only_the_same_packet_on_a_related_interface_is_a_duplicate() {
        let check = |name: &str, second: Observation, expected: bool| {
            let mut duplicates = duplicates();
            assert!(!duplicates.is_duplicate(&probe(PORT, 1_000)));
            assert_eq!(duplicates.is_duplicate(&second), expected, "{name}");
        };
        let seen = probe(BRIDGE, 5_000);
        check("bridge after port", seen, true);
        check("read in the other order", probe(BRIDGE, 0), true);
        check("much later", probe(BRIDGE, 5_000_000_000), true);
        check("same interface: sent twice", probe(PORT, 1_000), false);
        check("another link", probe(OTHER, 1_000), false);
        check("unknown interface", probe(0, 1_000), false);
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
    fn equal_packets_count_as_often_as_they_were_sent() {
        let orders: [&[u32]; 4] = [
            &[PORT, BRIDGE, PORT, BRIDGE, PORT, BRIDGE],
            &[PORT, PORT, PORT, BRIDGE, BRIDGE, BRIDGE],
            &[BRIDGE, BRIDGE, PORT, PORT, PORT, BRIDGE],
            // The bridge lost one.
            &[PORT, BRIDGE, PORT, PORT, BRIDGE],
        ];
        for order in orders {
            let mut duplicates = duplicates();
            let new = order.iter().filter(|it| !duplicates.is_duplicate(&probe(**it, 7))).count();
            assert_eq!(new, 3, "{order:?}");
        }
    }

    #[test]
    fn a_lost_sighting_has_no_effect_later() {
        let mut duplicates = duplicates();
        assert!(!duplicates.is_duplicate(&probe(PORT, 0)));
        assert!(!duplicates.is_duplicate(&probe(PORT, 1)));
        assert!(!duplicates.is_duplicate(&probe(BRIDGE, 11_000_000_000)));
        assert!(duplicates.is_duplicate(&probe(PORT, 11_000_000_000)));
    }

    #[test]
    fn interfaces_are_related_over_several_steps() {
        let ovs = |index| Interface {
            kind: Some(OPEN_VSWITCH.to_owned()),
            ..interface(index, None, None)
        };
        let groups = Groups::of(&[
            interface(1, None, None),
            interface(9, Some(4), None),
            interface(2, None, Some(9)),
            interface(4, None, None),
            interface(5, Some(2), None),
            interface(6, None, Some(77)),
            ovs(7),
            interface(3, Some(7), None),
            ovs(8),
        ]);
        let found: Vec<_> = (1..=9).map(|index| groups.group(index)).collect();
        let (vlans, switch) = (Some(2), Some(3));
        assert_eq!(found, [None, vlans, switch, vlans, vlans, None, switch, switch, vlans]);
        assert!(Groups::of(&[interface(1, None, None)]).is_empty());
    }

    #[test]
    fn duplicates_of_a_burst_are_recognised() {
        let mut duplicates = duplicates();
        let burst = |interface| {
            (1..=2_000).map(move |port| {
                let mut seen = probe(interface, u64::from(port));
                seen.target_port = port;
                seen
            })
        };
        assert_eq!(burst(PORT).filter(|it| duplicates.is_duplicate(it)).count(), 0);
        let found = burst(BRIDGE).filter(|it| duplicates.is_duplicate(it)).count();
        // More than four packets may share a bucket.
        assert!(found >= 1_990, "{found} of 2,000");
    }
}
