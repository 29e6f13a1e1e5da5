//! Hosts that the engine knows: restored, listed and forgotten by the caller.

use core::net::{IpAddr, Ipv4Addr};

use super::Engine;
use super::prefetch::BATCH;
use crate::hash_key::address_bits;

impl Engine {
    /// Adds hosts that an earlier run has blocked, in the order it blocked them.
    /// Past the caps [`Limits::blocked`](crate::Limits::blocked) and
    /// [`Limits::blocked_v6`](crate::Limits::blocked_v6), those that were added first
    /// are forgotten. IPv4-mapped addresses count as IPv4. About 90 ns each for a
    /// million. Goes through `hosts` twice, to count them first.
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

    /// Whether `host` is in the blocked set. Constant time.
    pub fn is_blocked(&self, host: IpAddr) -> bool {
        let host = host.to_canonical();
        self.blocked.contains(host, self.blocked.hash(host))
    }

    /// The blocked set: IPv4 hosts first, each family in the order it was added.
    pub fn blocked(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.blocked.iter()
    }

    /// Forgets `host`: it leaves the blocked set, its probes are counted from 0 again,
    /// and a failed response to it no longer delays the next. Returns whether any of
    /// that was known. A response that is under way goes on, and its outcome is handled
    /// as usual.
    ///
    /// The engine does not undo what a responder did. A blocked host costs a search
    /// through its family: about a millisecond among a million.
    pub fn forget(&mut self, host: IpAddr) -> bool {
        let host = host.to_canonical();
        // Both tables have the same key.
        let hash = self.blocked.hash(host);
        let was_blocked = self.blocked.remove(host, hash);
        let had_failed = self.responses.forget_failure(host);
        let was_counted = self.sources.remove(hash) > 0;
        was_blocked || had_failed || was_counted
    }

    /// The number of probes that are counted for `source`, as of its last probe; at most
    /// 65,535. Probes are counted only if
    /// [`Policy::scan_trigger`](crate::Policy::scan_trigger) is above 1. A source that was
    /// evicted from the full table is counted from 0 again.
    pub fn probes_of(&self, source: IpAddr) -> u16 {
        self.sources.count(self.sources.hash(address_bits(source), 0))
    }
}
