//! Asks the kernel for the sockets of single packets, over sock_diag (`sock_diag(7)`).
//!
//! A snapshot of served ports does not contain a service that listens for a moment only. So
//! before a packet counts as a probe, the kernel is asked for a socket that would receive it:
//! the request of the message `SOCK_DIAG_BY_FAMILY` without `NLM_F_DUMP`
//! (`inet_diag_find_one_icsk` in `net/ipv4/inet_diag.c`, `udp_dump_one` in
//! `net/ipv4/udp_diag.c`). It finds a connection of exactly these addresses and ports in any
//! state, also "time wait", and otherwise the socket that listens there. The kernel applies its
//! own rules for wildcards, IPv4-mapped addresses, sockets restricted to IPv6, and sockets bound
//! to the interface of the packet.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use netlink_packet_core::{NLM_F_REQUEST, NLMSG_ERROR};
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DIAG_BY_FAMILY,
};
use portsentry_core::{Instant, Observation, Protocol};

use super::budget::Budget;
use crate::{batch, netlink};

/// Size of a request: the header, and `struct inet_diag_req_v2` (`linux/inet_diag.h`).
const REQUEST: usize = 16 + 56;

/// Number of requests in one message to the kernel. For a message of more than about 3,700 bytes
/// (`NLMSG_GOODSIZE`), the kernel maps memory, which takes longer than the lookups.
const REQUESTS: usize = 32;

/// Bytes that are read of a reply: the header, and the error code or the start of `struct
/// inet_diag_msg`.
const REPLY: usize = 20;

/// Counts of socket lookups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LookupStats {
    /// Number of packets for which the kernel was asked.
    pub asked: u64,
    /// Number of packets for which the kernel has a socket.
    pub found: u64,
    /// Number of packets for which the kernel was not asked, because of the limit per second.
    pub skipped: u64,
    /// Number of packets for which the kernel gave no answer.
    pub failed: u64,
}

impl LookupStats {
    /// Adds the counts of other lookups.
    pub fn merge(&mut self, other: &Self) {
        self.asked += other.asked;
        self.found += other.found;
        self.skipped += other.skipped;
        self.failed += other.failed;
    }
}

/// Asks the kernel whether it has a socket for a packet, up to a number of packets per second.
///
/// A flood of probes then does not cost a system call each. A lookup costs 1.5 to
/// 3.5 microseconds. Up to [`BATCH`](Self::BATCH) packets share the system calls.
#[derive(Debug)]
pub struct SocketLookup {
    /// Opened at the first lookup, and again after a failure.
    socket: Option<OwnedFd>,
    budget: Budget,
    /// Number of the next request; its reply has the same number.
    sequence: u32,
    requests: Vec<u8>,
    stats: LookupStats,
    /// Whether the last lookup failed, which was logged.
    fails: bool,
}

impl SocketLookup {
    /// Largest number of packets in one call of [`find`](Self::find).
    pub const BATCH: usize = batch::BATCH;

    /// Creates a lookup that asks for `rate` packets per second at most, and for as many at a
    /// time. Opens nothing.
    pub fn new(rate: u32) -> Self {
        Self {
            socket: None,
            budget: Budget::new(rate),
            sequence: 0,
            requests: Vec::new(),
            stats: LookupStats::default(),
            fails: false,
        }
    }

    /// Returns for which of `observations` the kernel has a socket in the network namespace in
    /// which the first lookup was made. Bit `n` of `wanted`, and of the result, is the
    /// observation at index `n`; only the first [`BATCH`](Self::BATCH) can be asked for.
    ///
    /// An observation is missing in the result if the limit is reached, or if the kernel gives
    /// no answer. A failure is logged once.
    pub fn find(&mut self, observations: &[Observation], wanted: u64, now: Instant) -> u64 {
        let chosen = self.budget.take(wanted, now);
        let asked = u64::from(chosen.count_ones());
        self.stats.skipped += u64::from(wanted.count_ones()) - asked;
        if chosen == 0 {
            return 0;
        }
        self.stats.asked += asked;
        let (answered, found) = self.ask(observations, chosen).unwrap_or_else(|error| {
            self.socket = None;
            if !std::mem::replace(&mut self.fails, true) {
                log::warn!(
                    "cannot ask the kernel for the sockets of packets ({error}): connections to \
                     services that listen for a moment only may be reported as probes"
                );
            }
            (0, 0)
        });
        self.fails &= answered == 0;
        self.stats.failed += asked - u64::from(answered.count_ones());
        self.stats.found += u64::from(found.count_ones());
        found
    }

    /// Returns the counts so far.
    pub const fn stats(&self) -> LookupStats {
        self.stats
    }

    /// Returns the observations that were answered, and those that have a socket.
    fn ask(&mut self, observations: &[Observation], chosen: u64) -> io::Result<(u64, u64)> {
        let first = self.sequence;
        self.requests.clear();
        for (index, observation) in observations.iter().enumerate().take(Self::BATCH) {
            if chosen >> index & 1 == 1 {
                let number = first.wrapping_add(index as u32);
                self.requests.extend_from_slice(&request(observation, number));
            }
        }
        self.sequence = first.wrapping_add(Self::BATCH as u32);
        let socket = match &mut self.socket {
            Some(socket) => socket,
            none => none.insert(netlink::connected(netlink::SOCK_DIAG)?),
        };
        for requests in self.requests.chunks(REQUESTS * REQUEST) {
            rustix::net::send(&*socket, requests, rustix::net::SendFlags::empty())?;
        }
        let (mut answered, mut found) = (0_u64, 0_u64);
        // The kernel replies before the call returns, so there is nothing to wait for.
        while answered != chosen {
            let count = batch::receive::<REPLY>(socket, &mut |reply| {
                let Some(Reply { number, has_socket }) = Reply::parse(reply) else { return };
                // Replies to earlier requests have other numbers.
                let index = number.wrapping_sub(first);
                if index < Self::BATCH as u32 {
                    answered |= 1 << index;
                    found |= u64::from(has_socket) << index;
                }
            })?;
            if count == 0 {
                break;
            }
        }
        Ok((answered & chosen, found & chosen))
    }
}

/// The kernel's answer to one request.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    number: u32,
    has_socket: bool,
}

impl Reply {
    /// Parses the start of a message. `None` for a message that is no answer.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, payload) = bytes.split_first_chunk::<16>()?;
        let [_, _, _, _, kind @ ..] = header;
        let (kind, rest) = kind.split_first_chunk()?;
        let number = u32::from_ne_bytes(*rest.get(2..)?.first_chunk()?);
        let has_socket = match u16::from_ne_bytes(*kind) {
            SOCK_DIAG_BY_FAMILY => true,
            NLMSG_ERROR => false,
            _ => return None,
        };
        // The error code, or family and state.
        payload.first_chunk::<4>()?;
        Some(Self { number, has_socket })
    }
}

/// Returns the request for the socket that receives this packet.
fn request(observation: &Observation, number: u32) -> [u8; REQUEST] {
    let Observation { source, source_port, target, target_port, interface, .. } = *observation;
    let (own, peer) = ((target, target_port), (source, source_port));
    // For UDP, the kernel takes the ends the other way round (`udp_dump_one`).
    let (protocol, first, second) = match observation.protocol() {
        Protocol::Tcp => (IPPROTO_TCP, own, peer),
        Protocol::Udp => (IPPROTO_UDP, peer, own),
    };
    let family = if target.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut request = [0; REQUEST];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(room) = request.get_mut(at..at + bytes.len()) {
            room.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    put(&(REQUEST as u32).to_ne_bytes());
    put(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(&NLM_F_REQUEST.to_ne_bytes());
    put(&number.to_ne_bytes());
    put(&[0; 4]);
    // No extensions; sockets in any state.
    put(&[family, protocol, 0, 0]);
    put(&[0xff; 4]);
    put(&first.1.to_be_bytes());
    put(&second.1.to_be_bytes());
    put(&octets(first.0));
    put(&octets(second.0));
    put(&interface.to_ne_bytes());
    // Without a cookie.
    put(&[0xff; 8]);
    request
}

fn octets(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests;
