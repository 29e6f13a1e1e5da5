//! The probe that a response is for.

use std::net::{IpAddr, SocketAddr};

use portsentry_core::{Mode, Observation, Protocol};

/// The probe that a response is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProbeContext {
    /// The host to respond to.
    pub target: IpAddr,
    /// The port from which it sent the probe.
    pub source_port: u16,
    /// The address of this host that it probed.
    pub local: IpAddr,
    /// The port it probed.
    pub port: u16,
    /// Index of the interface that received the probe; 0 if unknown.
    pub interface: u32,
    /// The mode in which the probe was seen.
    pub mode: Mode,
    /// The probe's protocol.
    pub protocol: Protocol,
}

impl ProbeContext {
    /// Creates the context of a probe that `host` sent to `probed`, an address of this host.
    #[must_use]
    pub const fn new(host: SocketAddr, probed: SocketAddr, mode: Mode, protocol: Protocol) -> Self {
        Self {
            target: host.ip(),
            source_port: host.port(),
            local: probed.ip(),
            port: probed.port(),
            interface: 0,
            mode,
            protocol,
        }
    }

    /// Sets the index of the interface that received the probe.
    #[must_use]
    pub const fn on(self, interface: u32) -> Self {
        Self { interface, ..self }
    }
}

impl From<&Observation> for ProbeContext {
    fn from(probe: &Observation) -> Self {
        Self {
            target: probe.source,
            source_port: probe.source_port,
            local: probe.target,
            port: probe.target_port,
            interface: probe.interface,
            mode: probe.mode(),
            protocol: probe.protocol(),
        }
    }
}
