//! Served ports, and those that were served until a short time ago, on lists.

use std::net::IpAddr;
use std::time::Duration;

use portsentry_core::{Evidence, Observation, Protocol, TcpFlags};

/// Protocol, address and port of a socket, and whether it takes IPv6 only.
pub(crate) type Socket = (Protocol, IpAddr, u16, bool);

/// Age of a UDP socket that is remembered even if no host has used it.
const SETTLED: Duration = Duration::from_secs(1);

/// The sockets of the host, and the memory of earlier ones.
#[derive(Default)]
pub(crate) struct Served {
    sockets: Vec<Socket>,
    /// Sockets that are gone, and since when.
    gone: Vec<(Place, Duration)>,
    /// UDP ports to which datagrams came.
    used: Vec<u16>,
    settled: Vec<Place>,
    settling: (Vec<Place>, Duration),
}

/// Protocol, port, and one address or all of a family.
type Place = (Protocol, u16, Result<IpAddr, Family>);

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

/// Returns the places at which the kernel delivers packets to the sockets.
fn places(sockets: &[Socket]) -> Vec<Place> {
    let mut places = Vec::new();
    for &(protocol, address, port, v6_only) in sockets {
        let address = address.to_canonical();
        match address {
            _ if !address.is_unspecified() => places.push((protocol, port, Ok(address))),
            IpAddr::V4(_) => places.push((protocol, port, Err(Family::V4))),
            IpAddr::V6(_) => {
                places.push((protocol, port, Err(Family::V6)));
                if !v6_only {
                    places.push((protocol, port, Err(Family::V4)));
                }
            }
        }
    }
    places
}

fn receives((protocol, port, at): Place, probe: &Observation) -> bool {
    let family = if probe.target.is_ipv4() { Family::V4 } else { Family::V6 };
    (protocol, port) == (probe.protocol(), probe.target_port)
        && (at == Ok(probe.target) || at == Err(family))
}

impl Served {
    pub(crate) fn set(&mut self, sockets: &[Socket], now: Duration, grace: Duration) {
        let (before, after) = (places(&self.sockets), places(sockets));
        self.sockets = sockets.to_vec();
        if grace.is_zero() {
            return;
        }
        for place in before.into_iter().filter(|place| !after.contains(place)) {
            let (protocol, port, _) = place;
            let lasting = self.used.contains(&port) || self.settled.contains(&place);
            if protocol == Protocol::Tcp || lasting {
                self.gone.push((place, now));
            }
        }
        if now.saturating_sub(self.settling.1) >= SETTLED {
            self.settled = std::mem::replace(&mut self.settling, (after, now)).0;
        }
    }

    pub(crate) fn forget_expired(&mut self, now: Duration, grace: Duration) {
        self.gone.retain(|(_, since)| now.saturating_sub(*since) < grace);
    }

    /// Returns whether a program receives this packet, or did until a short time ago.
    pub(crate) fn is_served(
        &mut self,
        probe: &Observation,
        now: Duration,
        grace: Duration,
    ) -> bool {
        if places(&self.sockets).into_iter().any(|place| receives(place, probe)) {
            if probe.protocol() == Protocol::Udp && !self.used.contains(&probe.target_port) {
                self.used.push(probe.target_port);
            }
            return true;
        }
        // SYN without FIN, RST, PSH, ACK and URG.
        let possible = match probe.evidence {
            Evidence::Segment(segment) => segment.flags.bits() & 0x3f == TcpFlags::SYN.bits(),
            _ => true,
        };
        let fresh = |since: Duration| now.saturating_sub(since) < grace;
        possible && self.gone.iter().any(|&(place, since)| fresh(since) && receives(place, probe))
    }
}
