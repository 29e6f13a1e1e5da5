//! Methods with which the caller restores, lists and removes hosts.

use core::net::{IpAddr, Ipv4Addr};

use super::Engine;
use super::prefetch::BATCH;
use crate::hash_key::address_bits;

impl Engine {
    /// Adds hosts that an earlier run blocked, in the same order.
    /// Above the limits [`Limits::blocked`](crate::Limits::blocked) and
    /// [`Limits::blocked_v6`](crate::Limits::blocked_v6), the hosts that were added first
    /// are evicted. IPv4-mapped addresses count as IPv4. Iterates `hosts` twice, to count
    /// them first. Takes about 90 ns per host for a million hosts.
    pub fn restore_blocked<I>(&mut self, hosts: I)
    where
        I: IntoIterator<Item = IpAddr, IntoIter: Clone>,
    {
        let mut hosts = hosts.into_iter();
        let (v4, all) = hosts.clone().fold((0, 0), |(v4, all), host| {
            (v4 + usize::from(host.to_canonical().is_ipv4()), all + 1)
        });
        self.blocked.reserve(v4, all - v4);
        self.lookups.invalidate_all(&mut self.sources);
        let mut batch = [(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0); BATCH];
        loop {
            let mut filled = 0;
            let mut sum = 0;
            for (entry, host) in batch.iter_mut().zip(&mut hosts) {
                let host = host.to_canonical();
                *entry = (host, self.blocked.hash(host));
                sum ^= self.blocked.prefetch(host, entry.1);
                filled += 1;
            }
            core::hint::black_box(sum);
            for (host, hash) in batch.iter().take(filled) {
                self.blocked.insert(*host, *hash);
            }
            if filled < batch.len() {
                return;
            }
        }
    }

    /// Returns whether `host` is in the blocked set. Constant time.
    pub fn is_blocked(&self, host: IpAddr) -> bool {
        let host = host.to_canonical();
        self.blocked.contains(host, self.blocked.hash(host))
    }

    /// Returns the blocked hosts, IPv4 first, each family in the order of addition.
    pub fn blocked(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.blocked.iter()
    }

    /// Removes all state of `host`: its entry in the blocked set, the count of its probes,
    /// and the delay after a failed response. Returns whether there was any such state. A
    /// response in progress continues, and its outcome is handled as usual.
    ///
    /// The engine does not undo the actions of a responder. Removing a blocked host reads
    /// the entries of its family: about a millisecond for a million hosts.
    pub fn forget(&mut self, host: IpAddr) -> bool {
        let host = host.to_canonical();
        // Both tables have the same key.
        let hash = self.blocked.hash(host);
        let was_blocked = self.blocked.remove(host, hash);
        let had_failed = self.responses.forget_failure(host);
        let was_counted = self.sources.remove(hash) > 0;
        was_blocked || had_failed || was_counted
    }

    /// Returns the number of counted probes of `source` at its last probe, at most
    /// 65,535. Probes are counted only if
    /// [`Policy::scan_trigger`](crate::Policy::scan_trigger) is above 1. A source that was
    /// evicted from the full table is counted from 0 again.
    pub fn probes_of(&self, source: IpAddr) -> u16 {
        self.sources.count(self.sources.hash(address_bits(source), 0))
    }
}
