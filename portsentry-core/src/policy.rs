//! The rules of the decision.

use core::time::Duration;

use crate::{NetworkSet, PortSet, Protocol};

/// The rules of the decision, as plain data.
///
/// [`Engine::set_policy`](crate::Engine::set_policy) replaces the whole policy, and keeps
/// the counters and the blocked set. `Default` watches no port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default))]
pub struct Policy {
    /// Monitored TCP ports.
    pub tcp_ports: PortSet,
    /// Monitored UDP ports.
    pub udp_ports: PortSet,
    /// Sources whose probes are reported as ignored, without a response.
    pub ignore: NetworkSet,
    /// Sources that the engine never responds to.
    pub never_block: NetworkSet,
    /// Number of the probe from one source that triggers a response. 0 and 1 both mean the
    /// first.
    pub scan_trigger: u16,
    /// Longest pause between two probes of a source. After it, its probes are counted from
    /// 0 again. In whole seconds of [`Observation::at`](crate::Observation::at); `None` is
    /// unlimited.
    pub trigger_window: Option<Duration>,
    /// Whether to respond to TCP probes.
    pub block_tcp: bool,
    /// Whether to respond to UDP probes.
    pub block_udp: bool,
    /// Whether to remember blocked hosts and not to respond to them again. If not, each
    /// further probe of a host triggers a response.
    pub remember_blocked: bool,
    /// Maximum number of responses started in any 60 seconds; 0 for no limit.
    pub block_rate: u32,
    /// Whether to respond to probes whose source is also their target.
    pub respond_to_self: bool,
    /// Whether to watch ports that a local program serves.
    pub watch_served_ports: bool,
    /// Time for which a port counts as served after it was last known to be served; zero for
    /// none. TCP segments that no client sends, such as those of a NULL scan, are probes
    /// during this time.
    pub served_grace: Duration,
}

impl Policy {
    /// Returns whether `port` is monitored. Takes one load and one shift.
    pub fn monitors(&self, protocol: Protocol, port: u16) -> bool {
        match protocol {
            Protocol::Tcp => self.tcp_ports.contains(port),
            Protocol::Udp => self.udp_ports.contains(port),
        }
    }

    /// Returns whether probes of `protocol` trigger responses.
    pub fn blocks(&self, protocol: Protocol) -> bool {
        match protocol {
            Protocol::Tcp => self.block_tcp,
            Protocol::Udp => self.block_udp,
        }
    }
}
