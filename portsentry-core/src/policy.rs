//! The rules of the decision.

use core::time::Duration;

use crate::{NetworkSet, PortSet, Protocol};

/// The rules of the decision, as plain data.
///
/// A policy is replaced as a whole with
/// [`Engine::set_policy`](crate::Engine::set_policy); counters and the blocked
/// set survive that. `Default` watches nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Policy {
    /// Monitored TCP ports.
    pub tcp_ports: PortSet,
    /// Monitored UDP ports.
    pub udp_ports: PortSet,
    /// Sources whose probes are reported as ignored and go no further.
    pub ignore: NetworkSet,
    /// Sources that the engine never responds to.
    pub never_block: NetworkSet,
    /// Probes of one source before it counts as scanning; 0 and 1 both mean
    /// the first.
    pub scan_trigger: u16,
    /// How long a source may pause before its probes are counted from 0 again,
    /// in whole seconds of [`Observation::at`](crate::Observation::at); `None`:
    /// for ever.
    pub trigger_window: Option<Duration>,
    /// Whether to respond to TCP probes.
    pub block_tcp: bool,
    /// Whether to respond to UDP probes.
    pub block_udp: bool,
    /// Whether a host that was dealt with is remembered and left alone from
    /// then on. If not, each further probe of it is responded to.
    pub remember_blocked: bool,
    /// Responses begun in any 60 seconds; 0 means no limit.
    pub block_rate: u32,
    /// Whether a probe whose source is its own target may be acted on.
    pub respond_to_self: bool,
    /// Whether ports that a local program serves are watched all the same.
    pub watch_served_ports: bool,
}

impl Policy {
    /// Whether `port` is monitored. A load and a shift.
    pub fn monitors(&self, protocol: Protocol, port: u16) -> bool {
        match protocol {
            Protocol::Tcp => self.tcp_ports.contains(port),
            Protocol::Udp => self.udp_ports.contains(port),
        }
    }

    /// Whether probes of `protocol` are responded to.
    pub fn blocks(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => self.block_tcp,
            Protocol::Udp => self.block_udp,
        }
    }
}
