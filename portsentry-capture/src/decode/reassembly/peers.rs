//! Number of fragments of each source, as the kernel counts them for `net.ipv4.ipfrag_max_dist`.
//!
//! The kernel keeps the counter of a source while a datagram of that source waits
//! (`ip4_frag_init` and `ip_frag_too_far` in `net/ipv4/ip_fragment.c`, `net/ipv4/inetpeer.c`). So
//! does this table, and its size is bounded by that of the table of datagrams.

use std::collections::HashMap;
use std::net::IpAddr;

/// Counters of the sources of incomplete datagrams.
#[derive(Debug, Default)]
pub(super) struct Peers {
    peers: HashMap<IpAddr, Peer>,
}

#[derive(Debug, Default)]
struct Peer {
    /// Number of fragments since the counter exists.
    sent: u32,
    /// Number of incomplete datagrams.
    waiting: u32,
}

impl Peers {
    /// Counts a fragment, and returns the number of fragments of its source. Without incomplete
    /// datagrams of the source, this is 0.
    pub(super) fn count(&mut self, source: IpAddr) -> u32 {
        self.peers.get_mut(&source).map_or(0, |peer| {
            peer.sent = peer.sent.wrapping_add(1);
            peer.sent
        })
    }

    /// Adds an incomplete datagram of this source.
    pub(super) fn add(&mut self, source: IpAddr) {
        self.peers.entry(source).or_default().waiting += 1;
    }

    /// Removes an incomplete datagram of this source, and the counter with the last of them.
    pub(super) fn remove(&mut self, source: IpAddr) {
        if let Some(peer) = self.peers.get_mut(&source) {
            peer.waiting -= 1;
            if peer.waiting == 0 {
                self.peers.remove(&source);
            }
        }
    }
}
