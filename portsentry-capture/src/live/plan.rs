//! Decides which captures to open and which to close when interfaces change.

use crate::{Interface, Selection};

/// Identity of the interface of an open capture. The index alone is not enough: a renamed
/// interface keeps it, but may not be selected any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) index: u32,
    pub(super) name: String,
}

impl Identity {
    fn is(&self, interface: &Interface) -> bool {
        self.index == interface.index && self.name == interface.name
    }
}

/// The difference between the open captures and the selected interfaces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan<'a> {
    /// Positions among the open captures, ascending.
    pub(super) close: Vec<usize>,
    /// Interfaces to open a capture on.
    pub(super) open: Vec<&'a Interface>,
    /// Selected interfaces that are not ready: down, or without an address.
    pub(super) waiting: Vec<&'a Interface>,
}

impl<'a> Plan<'a> {
    /// Compares the `open` captures with the selected `interfaces`. A capture remains open while
    /// its interface exists, even if the interface is down or without addresses.
    pub(super) fn new(
        selection: &Selection,
        interfaces: &'a [Interface],
        open: &[Identity],
    ) -> Self {
        let selected = || interfaces.iter().filter(|interface| selection.includes(interface));
        let close = open
            .iter()
            .enumerate()
            .filter(|(_, open)| !selected().any(|interface| open.is(interface)))
            .map(|(position, _)| position)
            .collect();
        let (ready, waiting) = selected()
            .filter(|interface| !open.iter().any(|open| open.is(interface)))
            .partition(|interface| interface.up && !interface.addresses.is_empty());
        Self { close, open: ready, waiting }
    }
}

/// Returns the names of `selection` that no interface has.
pub(super) fn missing<'a>(selection: &'a Selection, interfaces: &[Interface]) -> Vec<&'a str> {
    let Selection::Named(names) = selection else { return Vec::new() };
    let exists = |name: &str| interfaces.iter().any(|interface| interface.name == name);
    names.iter().map(String::as_str).filter(|name| !exists(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::InterfaceAddress;

    /// Parses `name index`, followed by `down` or `bare` (without an address) if it is not ready.
    fn interface(text: &str) -> Interface {
        let mut words = text.split(' ');
        let name = words.next().unwrap().to_owned();
        let index = words.next().unwrap().parse().unwrap();
        let state = words.next();
        let network = "192.0.2.1/24".parse().unwrap();
        let addresses = match state {
            Some("bare") => vec![],
            _ => vec![InterfaceAddress { network, broadcast: None }],
        };
        let (up, loopback) = (state != Some("down"), name == "lo");
        Interface { up, loopback, addresses, ..Interface::new(name, index) }
    }

    fn check(selection: &str, open: &[&str], interfaces: &[&str], expected: &str) {
        let names: Vec<&str> = selection.split(' ').collect();
        let selection = Selection::parse(&names).unwrap();
        let interfaces: Vec<_> = interfaces.iter().map(|text| interface(text)).collect();
        let open: Vec<_> = open
            .iter()
            .map(|text| interface(text))
            .map(|Interface { index, name, .. }| Identity { index, name })
            .collect();
        let plan = Plan::new(&selection, &interfaces, &open);
        let names = |list: &[&Interface]| {
            list.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let found = format!(
            "close {:?} open [{}] waiting [{}]",
            plan.close,
            names(&plan.open),
            names(&plan.waiting)
        );
        assert_eq!(found, expected, "{selection:?} {open:?} {interfaces:?}");
    }

    #[test]
    fn selected_interfaces_that_are_ready_are_opened() {
        let all = ["lo 1", "eth0 2", "eth1 3 down", "eth2 4 bare"];
        check("ALL", &[], &all, "close [] open [lo eth0] waiting [eth1 eth2]");
        check("ALL_NLO", &[], &all, "close [] open [eth0] waiting [eth1 eth2]");
        check("eth1 eth0", &[], &all, "close [] open [eth0] waiting [eth1]");
        check("eth", &[], &all, "close [] open [] waiting []");
        check("any", &[], &all, "close [] open [] waiting []");
        check("ALL", &["eth0 2"], &all, "close [] open [lo] waiting [eth1 eth2]");
    }

    #[test]
    fn captures_of_removed_interfaces_are_closed() {
        let open = ["lo 1", "eth0 2"];
        check("ALL", &open, &["lo 1"], "close [1] open [] waiting []");
        check("ALL", &open, &[], "close [0, 1] open [] waiting []");
        // Another interface under the same name.
        check("ALL", &open, &["lo 1", "eth0 9"], "close [1] open [eth0] waiting []");
        // The same interface under another name.
        check("ALL", &open, &["lo 1", "lan 2"], "close [1] open [lan] waiting []");
        check("eth0", &["eth0 2"], &["lan 2"], "close [0] open [] waiting []");
    }

    #[test]
    fn an_open_capture_survives_an_interface_that_is_down() {
        check("ALL", &["eth0 2"], &["eth0 2 down"], "close [] open [] waiting []");
        check("ALL", &["eth0 2"], &["eth0 2 bare"], "close [] open [] waiting []");
    }

    #[test]
    fn missing_names_are_those_without_an_interface() {
        let interfaces = [interface("lo 1"), interface("eth01 2")];
        let check = |selection: &[&str], expected: &[&str]| {
            assert_eq!(missing(&Selection::parse(selection).unwrap(), &interfaces), expected);
        };
        check(&["lo", "eth0", "eth01", "nosuch0"], &["eth0", "nosuch0"]);
        check(&["lo"], &[]);
        check(&["ALL"], &[]);
        check(&["any"], &[]);
    }
}
