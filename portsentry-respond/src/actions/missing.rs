//! The missing actions of responses that succeeded in part.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use portsentry_core::Limits;
use portsentry_report::Action;

/// For each host that is blocked in part, the actions that failed. Bounded like the engine's record
/// of failed responses; the oldest host is evicted first, and its next response is a whole one.
#[derive(Debug)]
pub(super) struct Missing {
    state: Mutex<State>,
    most: usize,
}

#[derive(Debug, Default)]
struct State {
    hosts: HashMap<IpAddr, Entry>,
    /// The hosts by the numbers of their entries, oldest first.
    by_age: BTreeMap<u64, IpAddr>,
    next: u64,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    actions: Vec<Action>,
}

impl Default for Missing {
    fn default() -> Self {
        Self { state: Mutex::default(), most: Limits::default().failed }
    }
}

impl Missing {
    /// Returns the missing actions of `host`; `None` if nothing is known about it.
    pub(super) fn of(&self, host: IpAddr) -> Option<Vec<Action>> {
        self.with(|state| state.hosts.get(&host).map(|entry| entry.actions.clone()))
    }

    /// Records that only these `actions` are missing for `host`.
    pub(super) fn insert(&self, host: IpAddr, actions: Vec<Action>) {
        self.with(|state| {
            state.remove(host);
            while state.hosts.len() >= self.most {
                let Some((_, oldest)) = state.by_age.pop_first() else { break };
                state.hosts.remove(&oldest);
            }
            let number = state.next;
            state.next += 1;
            state.by_age.insert(number, host);
            state.hosts.insert(host, Entry { number, actions });
        });
    }

    /// Records that nothing is missing for `host`.
    pub(super) fn remove(&self, host: IpAddr) {
        self.with(|state| state.remove(host));
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn remove(&mut self, host: IpAddr) {
        if let Some(entry) = self.hosts.remove(&host) {
            self.by_age.remove(&entry.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_hosts_are_evicted() {
        let missing = Missing { most: 2, ..Missing::default() };
        let [first, second, third]: [IpAddr; 3] =
            ["192.0.2.1", "2001:db8::1", "192.0.2.3"].map(|it| it.parse().unwrap());
        missing.insert(first, vec![Action::Route]);
        missing.insert(second, vec![Action::Command]);
        missing.insert(first, vec![Action::HostsDeny]);
        missing.insert(third, vec![Action::Route]);
        let of = |host| missing.of(host);
        assert_eq!(of(first), Some(vec![Action::HostsDeny]));
        assert_eq!((of(second), of(third)), (None, Some(vec![Action::Route])));
        missing.remove(first);
        missing.remove(first);
        missing.insert(second, vec![Action::Route]);
        assert_eq!(of(third), Some(vec![Action::Route]));
        let sizes = missing.with(|state| (state.hosts.len(), state.by_age.len()));
        assert_eq!(sizes, (2, 2));
    }
}
