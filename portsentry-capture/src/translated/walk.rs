//! Follows packets through the chains, to the rules that translate them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Subnets, Ipv6Subnets};
use portsentry_core::{Protocol, TranslatedPorts};

use super::class::{Class, Constraint, Field, merge};
use super::expression::{Expression, Lookup, Verdict, expressions, families, forget_result};
use super::ranges::Ranges;
use super::registers::Registers;
use super::ruleset::{Key, Rule, Ruleset, Set};

/// Chains in each other, at most; the kernel refuses rules that need more
/// (`NFT_JUMP_STACK_SIZE`).
const MAX_DEPTH: usize = 16;

/// Steps of a walk, at most. A node of Kubernetes with 10,000 services takes about a million.
const MAX_WORK: usize = 8_000_000;

/// Entries of a result, at most.
pub(super) const MAX_RESULTS: usize = 65_536;

/// Networks that the destinations of one rule are split into, at most.
const MAX_NETWORKS: usize = 256;

/// Rules that are named in a report, at most.
const MAX_NAMED: usize = 8;

/// The ports that rules translate, as far as they can be read.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// Ports by protocol and destination.
    found: BTreeMap<(Protocol, IpNet), Vec<(u128, u128)>>,
    /// Rules that translate and name neither ports nor destinations.
    pub(super) unknown: BTreeSet<String>,
    /// Whether the walk ended early, or something did not fit.
    pub(super) incomplete: bool,
    /// Sets that a rule searches and that were not read.
    pub(super) missing: BTreeSet<Key>,
}

/// Follows all packets that arrive.
pub(super) fn walk(rules: &Ruleset) -> Findings {
    let mut walker = Walker {
        rules,
        findings: Findings { incomplete: rules.truncated, ..Findings::default() },
        visited: BTreeMap::new(),
        work: 0,
    };
    for (key, chain) in &rules.chains {
        if chain.is_entrance()
            && rules.is_active(key)
            && let Some(class) = Class::of_family(key.0)
        {
            walker.visit(key, &class, 0);
        }
    }
    walker.findings
}

impl Findings {
    /// Returns the ports, sorted. An entry may include another one.
    pub(super) fn ports(&self) -> Vec<TranslatedPorts> {
        let mut ports = Vec::new();
        for ((protocol, network), ranges) in &self.found {
            let ranges: Ranges = ranges.iter().copied().collect();
            for (first, last) in ranges.iter() {
                let [first, last] = [first, last].map(|port| u16::try_from(port).unwrap_or(0));
                ports.push(TranslatedPorts::new(*protocol, first..=last, *network));
            }
        }
        ports.sort_unstable();
        ports.truncate(MAX_RESULTS);
        ports
    }

    fn add(&mut self, class: &Class) {
        let protocols = [(Protocol::Tcp, class.tcp), (Protocol::Udp, class.udp)];
        for network in networks(class) {
            for (protocol, _) in protocols.iter().filter(|(_, included)| *included) {
                if self.found.len() >= MAX_RESULTS {
                    self.incomplete = true;
                    return;
                }
                let ports = self.found.entry((*protocol, network)).or_default();
                ports.extend(class.ports.iter());
            }
        }
    }
}

/// Returns the destinations of a class as networks. If they are too many, the first and the last
/// address and everything between them counts.
fn networks(class: &Class) -> Vec<IpNet> {
    let split = |ranges: &Ranges, subnets: &dyn Fn(u128, u128) -> Vec<IpNet>| {
        let exact: Vec<IpNet> = ranges
            .iter()
            .flat_map(|(first, last)| subnets(first, last))
            .take(MAX_NETWORKS + 1)
            .collect();
        match (ranges.iter().next(), ranges.iter().last()) {
            (Some((first, _)), Some((_, last))) if exact.len() > MAX_NETWORKS => {
                subnets(first, last)
            }
            _ => exact,
        }
    };
    let mut networks = split(&class.v4, &|first, last| {
        let [first, last] = [first, last].map(|it| Ipv4Addr::from(it as u32));
        Ipv4Subnets::new(first, last, 0).map(IpNet::from).collect()
    });
    networks.extend(split(&class.v6, &|first, last| {
        Ipv6Subnets::new(Ipv6Addr::from(first), Ipv6Addr::from(last), 0).map(IpNet::from).collect()
    }));
    networks
}

struct Walker<'a> {
    rules: &'a Ruleset,
    findings: Findings,
    /// Packets that a chain was already followed for.
    visited: BTreeMap<&'a Key, Vec<Class>>,
    work: usize,
}

impl<'a> Walker<'a> {
    /// Follows packets through a chain.
    fn visit(&mut self, key: &'a Key, class: &Class, depth: usize) {
        let Some(chain) = self.rules.chains.get(key) else { return };
        let visited = self.visited.entry(key).or_default();
        self.work += 1 + visited.len();
        if class.is_empty() || visited.iter().any(|visited| class.is_within(visited)) {
            return;
        }
        visited.push(class.clone());
        if depth >= MAX_DEPTH {
            self.findings.incomplete = true;
            return;
        }
        for rule in &chain.rules {
            if self.work > MAX_WORK {
                self.findings.incomplete = true;
                return;
            }
            self.follow(key, rule, class, depth);
        }
    }

    /// Follows packets through the expressions of a rule. Packets that the rule ends the chain
    /// for are not taken out for later rules: such a rule may depend on more than can be known.
    fn follow(&mut self, key: &'a Key, rule: &'a Rule, class: &Class, depth: usize) {
        let mut registers = Registers::new();
        let mut classes = vec![class.clone()];
        for bytes in expressions(&rule.expressions) {
            self.work += classes.iter().map(Class::size).sum::<usize>();
            match Expression::evaluate(bytes, &mut registers, &classes) {
                Expression::Done => {}
                Expression::Narrow(constraint, names) => {
                    narrow(&mut classes, std::slice::from_ref(&constraint), names);
                }
                Expression::Lookup(lookup) => {
                    self.look_up(key, lookup, &registers, &mut classes, depth);
                    forget_result(bytes, &mut registers);
                }
                Expression::Verdict(Verdict::Chain(name)) => {
                    self.jump(key, name, &classes, depth);
                }
                Expression::Verdict(_) => {}
                Expression::Translate(family) => self.translate(key, rule, classes.iter(), family),
            }
            if classes.is_empty() || self.work > MAX_WORK {
                break;
            }
        }
    }

    fn jump(&mut self, from: &'a Key, name: &[u8], classes: &[Class], depth: usize) {
        let target = (from.0, from.1.clone(), name.to_vec());
        if let Some((key, _)) = self.rules.chains.get_key_value(&target) {
            for class in classes {
                self.visit(key, class, depth + 1);
            }
        }
    }

    /// Keeps packets whose key is in the set, and follows the verdicts of a verdict map.
    fn look_up(
        &mut self,
        from: &'a Key,
        lookup: Lookup<'a>,
        registers: &Registers,
        classes: &mut Vec<Class>,
        depth: usize,
    ) {
        let name = (from.0, from.1.clone(), lookup.set.to_vec());
        let set = self.rules.sets.get(&name);
        // A list of blocked sources, for example, which may be long. It constrains nothing.
        if set.and_then(Set::key_length).is_some_and(|length| !registers.knows(lookup.key, length))
        {
            return;
        }
        let Some(elements) = set.and_then(Set::elements) else {
            self.findings.missing.insert(name);
            return;
        };
        let is_dynamic = set.is_some_and(Set::is_dynamic);
        if elements.is_empty() && !is_dynamic && !lookup.inverted && registers.knows(lookup.key, 1)
        {
            classes.clear();
            return;
        }
        self.work += elements.len();
        let mut by_verdict: BTreeMap<Option<Verdict<'a>>, Vec<Constraint>> = BTreeMap::new();
        let mut is_exact = true;
        let mut is_known = !elements.is_empty();
        for element in elements {
            let comparison = element.keys.as_ref().map(|(low, high)| {
                is_known &= registers.knows(lookup.key, low.len());
                registers.between(lookup.key, low, high)
            });
            let comparison = comparison.unwrap_or_default();
            is_exact &= comparison.is_exact;
            by_verdict.entry(element.verdict).or_default().push(comparison.constraint);
        }
        for constraints in by_verdict.values_mut() {
            *constraints = merge(std::mem::take(constraints));
        }
        for (verdict, constraints) in &by_verdict {
            if let Some(Verdict::Chain(name)) = verdict {
                let mut selected = classes.clone();
                narrow(&mut selected, constraints, true);
                self.work += selected.iter().map(Class::size).sum::<usize>();
                self.jump(from, name, &selected, depth);
            }
        }
        if is_dynamic {
            return;
        }
        let members = merge(by_verdict.into_values().flatten().collect());
        if !lookup.inverted {
            if is_known {
                narrow(classes, &members, true);
            }
        } else if is_exact && let [member] = &*members {
            let opposite: Constraint = member
                .iter()
                .map(|(field, values): (&Field, &Ranges)| {
                    (*field, values.complement(field.greatest()))
                })
                .collect();
            narrow(classes, &[opposite], false);
        }
    }

    fn translate<'c>(
        &mut self,
        key: &Key,
        rule: &Rule,
        classes: impl Iterator<Item = &'c Class>,
        family: Option<u8>,
    ) {
        let (v4, v6) = families(family);
        for class in classes {
            let mut class = class.clone();
            class.keep(v4, v6);
            if class.is_empty() {
                continue;
            }
            if class.names_ports || class.names_destinations {
                self.findings.add(&class);
            } else if self.findings.unknown.len() < MAX_NAMED {
                let [table, chain] = [&key.1, &key.2].map(|name| String::from_utf8_lossy(name));
                let handle = rule.handle;
                self.findings
                    .unknown
                    .insert(format!("table {table}, chain {chain}, handle {handle}"));
            }
        }
    }
}

/// Narrows each class to the packets that meet one of `alternatives`.
fn narrow(classes: &mut Vec<Class>, alternatives: &[Constraint], names: bool) {
    /// Classes of one rule, at most; beyond this, a condition constrains nothing.
    const MAX_CLASSES: usize = 65_536;
    if classes.len().saturating_mul(alternatives.len()) > MAX_CLASSES {
        return;
    }
    let narrowed = classes.iter().flat_map(|class| {
        alternatives.iter().map(move |constraint| class.narrow(constraint, names))
    });
    *classes = narrowed.filter(|class| !class.is_empty()).collect();
}
