//! Classes of packets, as the constraints of a rule define them.

use std::collections::BTreeMap;

use super::attributes::{INET, IPV4, IPV6};
use super::ranges::Ranges;

/// A field of a packet that a constraint can be about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Field {
    /// The family of the packet, `NFPROTO_IPV4` or `NFPROTO_IPV6`.
    Family,
    /// The number of the protocol after IP.
    EtherType,
    Protocol,
    Port,
    V4,
    V6,
}

impl Field {
    /// Returns the number of bytes of the field.
    pub(super) const fn width(self) -> usize {
        match self {
            Self::Family | Self::Protocol => 1,
            Self::EtherType | Self::Port => 2,
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }

    /// Returns the greatest value of the field.
    pub(super) const fn greatest(self) -> u128 {
        u128::MAX >> (128 - 8 * self.width())
    }
}

/// The values that a packet must have, for each field that matters.
pub(super) type Constraint = BTreeMap<Field, Ranges>;

/// Packets that a rule is about: those of which every field is in the set of the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) tcp: bool,
    pub(super) udp: bool,
    pub(super) ports: Ranges,
    /// Destination addresses.
    pub(super) v4: Ranges,
    pub(super) v6: Ranges,
    /// Whether a rule names these ports, and not only those that it excludes.
    pub(super) names_ports: bool,
    /// Whether a rule names these addresses, and not only those that it excludes.
    pub(super) names_destinations: bool,
}

impl Class {
    /// Returns all packets that the chains of a table of this family see.
    pub(super) fn of_family(family: u8) -> Option<Self> {
        let all = |field: Field, seen: bool| {
            if seen { Ranges::of(0, field.greatest()) } else { Ranges::EMPTY }
        };
        matches!(family, INET | IPV4 | IPV6).then(|| Self {
            tcp: true,
            udp: true,
            ports: all(Field::Port, true),
            v4: all(Field::V4, family != IPV6),
            v6: all(Field::V6, family != IPV4),
            names_ports: false,
            names_destinations: false,
        })
    }

    /// Returns whether there is no such packet.
    pub(super) fn is_empty(&self) -> bool {
        !(self.tcp || self.udp) || self.ports.is_empty() || self.v4.is_empty() && self.v6.is_empty()
    }

    /// Returns the packets that also meet `constraint`. `names` is whether it lists values, and
    /// not those that a packet must not have.
    pub(super) fn narrow(&self, constraint: &Constraint, names: bool) -> Self {
        let mut class = self.clone();
        for (field, values) in constraint {
            // All values are as good as none.
            let names = names && *values != Ranges::of(0, field.greatest());
            match field {
                Field::Protocol => {
                    class.tcp &= values.contains(6);
                    class.udp &= values.contains(17);
                }
                Field::Port => {
                    class.ports = class.ports.and(values);
                    class.names_ports |= names;
                }
                Field::V4 => {
                    class.v4 = class.v4.and(values);
                    class.v6 = Ranges::EMPTY;
                    class.names_destinations |= names;
                }
                Field::V6 => {
                    class.v6 = class.v6.and(values);
                    class.v4 = Ranges::EMPTY;
                    class.names_destinations |= names;
                }
                Field::Family => {
                    class
                        .keep(values.contains(u128::from(IPV4)), values.contains(u128::from(IPV6)));
                }
                Field::EtherType => class.keep(values.contains(0x0800), values.contains(0x86dd)),
            }
        }
        class
    }

    /// Keeps only the packets of some families.
    pub(super) fn keep(&mut self, v4: bool, v6: bool) {
        if !v4 {
            self.v4 = Ranges::EMPTY;
        }
        if !v6 {
            self.v6 = Ranges::EMPTY;
        }
    }

    /// Returns whether `other` includes all packets of this class, named to the same degree.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.tcp <= other.tcp
            && self.udp <= other.udp
            && self.names_ports == other.names_ports
            && self.names_destinations == other.names_destinations
            && self.ports.is_within(&other.ports)
            && self.v4.is_within(&other.v4)
            && self.v6.is_within(&other.v6)
    }

    /// Returns the number of ranges of the class, as a measure of the work with it.
    pub(super) fn size(&self) -> usize {
        1 + self.ports.len() + self.v4.len() + self.v6.len()
    }
}

/// Merges constraints that differ in one field only. A packet meets one of the results if it
/// meets one of `alternatives`.
pub(super) fn merge(mut alternatives: Vec<Constraint>) -> Vec<Constraint> {
    for field in [Field::Port, Field::V4, Field::V6, Field::Protocol] {
        let mut groups: BTreeMap<Constraint, Option<Vec<(u128, u128)>>> = BTreeMap::new();
        for mut alternative in alternatives {
            let values = alternative.remove(&field);
            let group = groups.entry(alternative).or_insert_with(|| Some(Vec::new()));
            match values {
                Some(values) => {
                    if let Some(group) = group {
                        group.extend(values.iter());
                    }
                }
                // Without this field, any value meets the constraint.
                None => *group = None,
            }
        }
        alternatives = groups
            .into_iter()
            .map(|(mut rest, values)| {
                rest.extend(values.map(|values| (field, values.into_iter().collect())));
                rest
            })
            .collect();
    }
    alternatives
}
