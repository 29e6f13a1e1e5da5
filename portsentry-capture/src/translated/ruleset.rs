//! Tables, chains, rules and sets of nf_tables, from the messages of a dump.

use std::collections::{BTreeMap, BTreeSet};

use super::attributes::{HEADER, INET, IPV4, IPV6, attribute, attributes, name, number};
use super::expression::{Verdict, verdict};

/// Number of the subsystem, the upper byte of the type of its messages.
pub(super) const NF_TABLES: u16 = 10 << 8;

/// Lower bytes of the type of messages.
pub(super) const NEW_TABLE: u16 = 0;
pub(super) const NEW_CHAIN: u16 = 3;
pub(super) const NEW_RULE: u16 = 6;
pub(super) const NEW_SET: u16 = 9;
pub(super) const NEW_ELEMENTS: u16 = 12;

/// Bytes of rules and elements that are kept, at most. 40,000 rules have about 16 MiB.
const MAX_SIZE: usize = 64 << 20;

/// A chain or a set: family of the table, name of the table, name.
pub(super) type Key = (u8, Vec<u8>, Vec<u8>);

/// Rules of a packet filter.
#[derive(Debug, Default)]
pub(super) struct Ruleset {
    /// Tables that the kernel does not use (`NFT_TABLE_F_DORMANT`).
    dormant: BTreeSet<(u8, Vec<u8>)>,
    pub(super) chains: BTreeMap<Key, Chain>,
    pub(super) sets: BTreeMap<Key, Set>,
    /// Bytes of rules and elements.
    size: usize,
    /// Whether some rules or elements did not fit.
    pub(super) truncated: bool,
    /// Generation of the tables that the messages belong to.
    generation: Option<[u8; 2]>,
    /// Whether messages are from different generations.
    pub(super) is_mixed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Number of the hook of a base chain.
    pub(super) hook: Option<u32>,
    pub(super) rules: Vec<Rule>,
}

#[derive(Debug)]
pub(super) struct Rule {
    pub(super) handle: u64,
    /// `NFTA_RULE_EXPRESSIONS`
    pub(super) expressions: Vec<u8>,
}

#[derive(Debug, Default)]
pub(super) struct Set {
    flags: u32,
    /// Bytes of a key, with the padding between its fields; `None` if they are not known.
    key_length: Option<usize>,
    /// Parts of elements, as messages of a dump contain them; `None` if they were not read.
    elements: Option<Vec<RawElement>>,
}

#[derive(Debug)]
struct RawElement {
    key: Vec<u8>,
    end: Option<Vec<u8>>,
    flags: u32,
    data: Vec<u8>,
}

/// An element of a set or a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Element<'a> {
    /// First and last key; `None` for all keys that no other element has.
    pub(super) keys: Option<(Vec<u8>, Vec<u8>)>,
    /// The verdict, in a verdict map.
    pub(super) verdict: Option<Verdict<'a>>,
}

impl Ruleset {
    /// Adds the entry in a message: its type, and its bytes after the header of netlink.
    pub(super) fn add(&mut self, kind: u16, payload: &[u8]) {
        let (Some([family, _version, generation @ ..]), Some(body)) =
            (payload.first_chunk::<HEADER>(), payload.get(HEADER..))
        else {
            return;
        };
        let generation = *self.generation.get_or_insert(*generation) == *generation;
        self.is_mixed |= !generation;
        match kind.wrapping_sub(NF_TABLES) {
            NEW_TABLE => drop(self.add_table(*family, body)),
            NEW_CHAIN => drop(self.add_chain(*family, body)),
            NEW_RULE => drop(self.add_rule(*family, body)),
            NEW_SET => drop(self.add_set(*family, body)),
            NEW_ELEMENTS => drop(self.add_elements(*family, body)),
            _ => {}
        }
    }

    /// Returns whether the kernel uses the table of this chain.
    pub(super) fn is_active(&self, (family, table, _): &Key) -> bool {
        !self.dormant.contains(&(*family, table.clone()))
    }

    /// Returns the tables with a chain that sees packets before the kernel decides about their
    /// route.
    pub(super) fn tables(&self) -> BTreeSet<(u8, Vec<u8>)> {
        let hooked = self.chains.iter().filter(|(_, chain)| chain.is_entrance());
        let followed = hooked.filter(|((family, ..), _)| matches!(*family, INET | IPV4 | IPV6));
        followed.map(|((family, table, _), _)| (*family, table.clone())).collect()
    }

    /// Marks the elements of a set as read, even if it has none.
    pub(super) fn has_elements(&mut self, set: &Key) {
        self.sets.entry(set.clone()).or_default().elements.get_or_insert_default();
    }

    /// Returns whether `size` more bytes may be kept.
    fn takes(&mut self, size: usize) -> bool {
        let fits = self.size + size <= MAX_SIZE;
        self.size += if fits { size } else { 0 };
        self.truncated |= !fits;
        fits
    }

    /// `NFTA_TABLE_NAME`, `_FLAGS`
    fn add_table(&mut self, family: u8, body: &[u8]) -> Option<()> {
        const DORMANT: u32 = 1;
        let table = name(body, 1)?.to_vec();
        if number(body, 2).unwrap_or_default() & DORMANT != 0 {
            self.dormant.insert((family, table));
        }
        Some(())
    }

    /// `NFTA_CHAIN_TABLE`, `_NAME`, `_HOOK`
    fn add_chain(&mut self, family: u8, body: &[u8]) -> Option<()> {
        let key = (family, name(body, 1)?.to_vec(), name(body, 3)?.to_vec());
        let hook = attribute(body, 4).and_then(|hook| number(hook, 1));
        self.chains.entry(key).or_default().hook = hook;
        Some(())
    }

    /// `NFTA_RULE_TABLE`, `_CHAIN`, `_HANDLE`, `_EXPRESSIONS`
    fn add_rule(&mut self, family: u8, body: &[u8]) -> Option<()> {
        let key = (family, name(body, 1)?.to_vec(), name(body, 2)?.to_vec());
        let handle = attribute(body, 3)?.try_into().map_or(0, u64::from_be_bytes);
        let expressions = attribute(body, 4)?.to_vec();
        if self.takes(expressions.len() + size_of::<Rule>()) {
            self.chains.entry(key).or_default().rules.push(Rule { handle, expressions });
        }
        Some(())
    }

    /// `NFTA_SET_TABLE`, `_NAME`, `_FLAGS`, `_KEY_LEN`
    fn add_set(&mut self, family: u8, body: &[u8]) -> Option<()> {
        let key = (family, name(body, 1)?.to_vec(), name(body, 2)?.to_vec());
        let set = self.sets.entry(key).or_default();
        // The kernel omits flags of 0.
        set.flags = number(body, 3).unwrap_or_default();
        set.key_length = number(body, 5).map(|length| length as usize);
        Some(())
    }

    /// `NFTA_SET_ELEM_LIST_TABLE`, `_SET`, `_ELEMENTS`; of each element `NFTA_SET_ELEM_KEY`,
    /// `_DATA`, `_FLAGS`, `_KEY_END`.
    fn add_elements(&mut self, family: u8, body: &[u8]) -> Option<()> {
        let key = (family, name(body, 1)?.to_vec(), name(body, 2)?.to_vec());
        self.has_elements(&key);
        let value = |element, kind| Some(attribute(attribute(element, kind)?, 1)?.to_vec());
        for (_, element) in attributes(attribute(body, 3)?) {
            let raw = RawElement {
                key: value(element, 1).unwrap_or_default(),
                end: value(element, 10),
                flags: number(element, 3).unwrap_or_default(),
                data: attribute(element, 2).unwrap_or_default().to_vec(),
            };
            let size = raw.key.len() + raw.data.len() + size_of::<RawElement>();
            if self.takes(size) {
                let set = self.sets.entry(key.clone()).or_default();
                set.elements.get_or_insert_default().push(raw);
            }
        }
        Some(())
    }
}

impl Chain {
    /// Returns whether the hook of the chain is `prerouting`.
    pub(super) fn is_entrance(&self) -> bool {
        const PREROUTING: u32 = 0;
        self.hook == Some(PREROUTING)
    }
}

impl Set {
    const INTERVAL: u32 = 4;
    const MAP: u32 = 8;
    const EVAL: u32 = 0x20;
    const CONCAT: u32 = 0x80;

    /// Returns whether packets change the set, so that its elements constrain nothing.
    pub(super) fn is_dynamic(&self) -> bool {
        self.flags & Self::EVAL != 0
    }

    /// Returns the length of a key if the set is no map, so that a search has no other result than
    /// whether the key is in it.
    pub(super) fn key_length(&self) -> Option<usize> {
        self.key_length.filter(|_| self.flags & Self::MAP == 0)
    }

    /// Returns the elements; `None` if they were not read.
    ///
    /// A set of intervals has one element for the start of an interval, and one for the first key
    /// behind it. The last interval may have no end.
    pub(super) fn elements(&self) -> Option<Vec<Element<'_>>> {
        const INTERVAL_END: u32 = 1;
        const CATCHALL: u32 = 2;
        let raw = self.elements.as_ref()?;
        let (ends, starts): (Vec<&RawElement>, Vec<&RawElement>) =
            raw.iter().partition(|element| element.flags & INTERVAL_END != 0);
        // An element of a set of several fields contains its own end.
        let has_intervals =
            self.flags & (Self::INTERVAL | Self::CONCAT) == Self::INTERVAL || !ends.is_empty();
        let bounds: BTreeSet<&[u8]> = raw.iter().map(|element| &*element.key).collect();
        let elements = starts.into_iter().map(|element| {
            let key = &element.key;
            let last = || match bounds.range::<[u8], _>((after(key), std::ops::Bound::Unbounded)) {
                mut later if has_intervals => later
                    .find(|later| later.len() == key.len())
                    .map_or_else(|| vec![u8::MAX; key.len()], |next| before(next)),
                _ => key.clone(),
            };
            let keys = (element.flags & CATCHALL == 0)
                .then(|| (key.clone(), element.end.clone().unwrap_or_else(last)));
            Element { keys, verdict: verdict(&element.data) }
        });
        Some(elements.filter(Element::is_valid).collect())
    }
}

impl Element<'_> {
    fn is_valid(&self) -> bool {
        self.keys.as_ref().is_none_or(|(low, high)| !low.is_empty() && low.len() == high.len())
    }
}

fn after(key: &[u8]) -> std::ops::Bound<&[u8]> {
    std::ops::Bound::Excluded(key)
}

/// Returns the key before `key`, which is not the first.
fn before(key: &[u8]) -> Vec<u8> {
    let mut key = key.to_vec();
    for byte in key.iter_mut().rev() {
        let borrowed = *byte == 0;
        *byte = byte.wrapping_sub(1);
        if !borrowed {
            break;
        }
    }
    key
}
