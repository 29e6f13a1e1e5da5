//! Options of a sensor set.

use portsentry_core::{NetworkSet, PortSet};

use crate::live::set::SensorSet;
use crate::live::{LiveBackend, Watched};
use crate::{Selection, SensorError};

/// Opens a [`SensorSet`]. Created by [`SensorSet::builder`].
pub struct SensorSetBuilder {
    selection: Selection,
    backend: Box<dyn LiveBackend + Send>,
    tcp_ports: PortSet,
    udp_ports: PortSet,
}

impl SensorSet {
    /// Starts a set that captures with `backend` on the interfaces of `selection`, and watches
    /// all TCP and UDP ports.
    pub fn builder(
        selection: Selection,
        backend: impl LiveBackend + Send + 'static,
    ) -> SensorSetBuilder {
        SensorSetBuilder {
            selection,
            backend: Box::new(backend),
            tcp_ports: PortSet::all(),
            udp_ports: PortSet::all(),
        }
    }
}

impl SensorSetBuilder {
    /// Watches only these TCP ports.
    #[must_use]
    pub fn tcp_ports(self, tcp_ports: PortSet) -> Self {
        Self { tcp_ports, ..self }
    }

    /// Watches only these UDP ports.
    #[must_use]
    pub fn udp_ports(self, udp_ports: PortSet) -> Self {
        Self { udp_ports, ..self }
    }

    /// Opens a capture on each interface of the selection that is ready, in the network
    /// namespace of the calling thread. Interfaces that are missing, down or without an address
    /// are logged and opened when they become ready.
    ///
    /// # Errors
    ///
    /// [`SensorError::MissingPrivilege`]; [`SensorError::NoSuchInterface`] if none of the named
    /// interfaces exists; any error of a named interface, or of all interfaces.
    pub fn open(self) -> Result<SensorSet, SensorError> {
        let Self { selection, backend, tcp_ports, udp_ports } = self;
        SensorSet::open(
            selection,
            backend,
            Watched::new(NetworkSet::default(), tcp_ports, udp_ports),
        )
    }
}

impl std::fmt::Debug for SensorSetBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SensorSetBuilder")
            .field("selection", &self.selection)
            .finish_non_exhaustive()
    }
}
