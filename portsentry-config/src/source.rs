//! The configuration to load: the file, and values of the caller.

use std::path::PathBuf;

use portsentry_core::config::{LocalPorts, PortAccess, Responses, Rings};

/// The configuration file that is used if the user names none.
pub const DEFAULT_PATH: &str = "/etc/portsentry/portsentry.conf";

/// Where to find the configuration, and how the caller uses it.
///
/// ```
/// use portsentry_config::{Responses, Source};
///
/// // A program that blocks hosts by its own means.
/// let source = Source::file("/etc/gateway/probes.conf").with_responses(Responses::Embedder);
/// assert_eq!(source.path.to_str(), Some("/etc/gateway/probes.conf"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Source {
    /// The file; a relative path is relative to the working directory.
    pub path: PathBuf,
    /// The replacement for a missing file.
    pub if_missing: IfMissing,
    /// The party that carries out responses. With [`Responses::Embedder`], a configuration that
    /// blocks needs no `KILL_` key.
    pub responses: Responses,
}

/// The replacement for a missing configuration file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IfMissing {
    /// Nothing: loading fails.
    #[default]
    Fail,
    /// [`Settings::built_in`](portsentry_core::config::Settings::built_in).
    BuiltIn,
}

impl Default for Source {
    /// [`DEFAULT_PATH`], or the built-in settings if that file does not exist.
    fn default() -> Self {
        Self::file_or_built_in(DEFAULT_PATH)
    }
}

impl Source {
    /// This file, which must exist. The responses are those of the file.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { path, if_missing: IfMissing::Fail, responses: Responses::Configured }
    }

    /// This file, or the built-in settings if it does not exist. The responses are those
    /// of the file.
    pub fn file_or_built_in(path: impl Into<PathBuf>) -> Self {
        Self { if_missing: IfMissing::BuiltIn, ..Self::file(path) }
    }

    /// Returns a copy with `responses`.
    #[must_use]
    pub fn with_responses(self, responses: Responses) -> Self {
        Self { responses, ..self }
    }
}

/// Values from the command line that apply in addition to the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Overrides {
    /// Whether to ignore probes from this host to itself; not with `-L`.
    pub local_check: bool,
    /// Whether to ignore ports that a local program serves; not with `-S`.
    pub service_check: bool,
    /// Support for several rings, which depends on the method of capture.
    pub rings: Rings,
    /// How the program watches the ports.
    pub ports: PortAccess,
    /// The ports of outgoing connections, which the word `ALL` omits.
    pub local_ports: LocalPortSource,
}

/// Where the ports of outgoing connections come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LocalPortSource {
    /// The caller.
    Given(LocalPorts),
    /// The running kernel. If a configuration contains the word `ALL`, loading it also reads
    /// [`LOCAL_PORT_RANGE`]. If that is not possible, the default of Linux is used, with a warning.
    Kernel,
}

impl Default for LocalPortSource {
    /// The default of Linux.
    fn default() -> Self {
        Self::Given(LocalPorts::default())
    }
}

/// The file with the kernel's range of ports for outgoing connections.
pub const LOCAL_PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

impl Default for Overrides {
    /// Returns the values without options on the command line.
    fn default() -> Self {
        Self {
            local_check: true,
            service_check: true,
            rings: Rings::Supported,
            ports: PortAccess::Captured,
            local_ports: LocalPortSource::default(),
        }
    }
}

impl Overrides {
    /// Returns a copy with `local_check`.
    #[must_use]
    pub const fn with_local_check(self, local_check: bool) -> Self {
        Self { local_check, ..self }
    }

    /// Returns a copy with `service_check`.
    #[must_use]
    pub const fn with_service_check(self, service_check: bool) -> Self {
        Self { service_check, ..self }
    }

    /// Returns a copy with `rings`.
    #[must_use]
    pub const fn with_rings(self, rings: Rings) -> Self {
        Self { rings, ..self }
    }

    /// Returns a copy with `ports`.
    #[must_use]
    pub const fn with_ports(self, ports: PortAccess) -> Self {
        Self { ports, ..self }
    }

    /// Returns a copy with `local_ports`.
    #[must_use]
    pub const fn with_local_ports(self, local_ports: LocalPortSource) -> Self {
        Self { local_ports, ..self }
    }
}
