//! The loaded configuration.

use std::path::PathBuf;

use portsentry_core::config::{BlockMode, LocalPorts, PortList, Settings};
use portsentry_core::{NetworkSet, Policy, PortSet, Protocol};

use crate::{Findings, LocalPortSource, Overrides};

/// A configuration without errors.
#[derive(Debug)]
#[non_exhaustive]
pub struct Configuration {
    /// The keys of the file; all paths are absolute.
    pub settings: Settings,
    /// Hosts and networks to ignore.
    pub ignore: NetworkSet,
    /// Whether to ignore probes from this host to itself.
    pub local_check: bool,
    /// Whether to ignore ports that a local program serves.
    pub service_check: bool,
    /// The ports of outgoing connections, which the word `ALL` omits.
    pub local_ports: LocalPorts,
    /// Where the settings come from.
    pub origin: Origin,
    /// Findings that are no errors.
    pub warnings: Findings,
}

/// Where settings come from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// This file, by its absolute path.
    File(PathBuf),
    /// [`Settings::built_in`], because the file does not exist.
    #[non_exhaustive]
    BuiltIn {
        /// The absolute path of the missing file.
        missing: PathBuf,
    },
    /// The embedding program, see [`Configuration::new`].
    Program,
}

impl Configuration {
    /// Creates a configuration of settings that do not come from a file. No host is ignored,
    /// and the other fields have the values of [`Overrides::default`].
    ///
    /// ```
    /// use portsentry_config::Configuration;
    /// use portsentry_core::config::Settings;
    ///
    /// let mut configuration = Configuration::new(Settings::built_in());
    /// configuration.ignore = "192.0.2.0/24, 2001:db8::/32".parse()?;
    /// # Ok::<(), portsentry_core::config::Problem>(())
    /// ```
    pub fn new(settings: Settings) -> Self {
        Self::assemble(settings, NetworkSet::default(), Overrides::default(), Origin::Program)
    }

    /// Creates a configuration without warnings.
    pub(crate) fn assemble(
        settings: Settings,
        ignore: NetworkSet,
        overrides: Overrides,
        origin: Origin,
    ) -> Self {
        let Overrides { local_check, service_check, local_ports, .. } = overrides;
        let local_ports = match local_ports {
            LocalPortSource::Given(ports) => ports,
            LocalPortSource::Kernel => LocalPorts::default(),
        };
        let warnings = Findings::default();
        Self { settings, ignore, local_check, service_check, local_ports, origin, warnings }
    }

    fn list(&self, protocol: Protocol) -> &PortList {
        match protocol {
            Protocol::Tcp => &self.settings.tcp_ports,
            Protocol::Udp => &self.settings.udp_ports,
        }
    }

    /// Returns the ports of `protocol` to watch, also if the settings contain the word `ALL`.
    pub fn ports(&self, protocol: Protocol) -> PortSet {
        self.list(protocol).ports(self.local_ports)
    }

    /// Returns whether `port` is watched. Constant time.
    pub fn monitors(&self, protocol: Protocol, port: u16) -> bool {
        self.list(protocol).contains(port, self.local_ports)
    }

    /// Returns the rules for the engine. It never responds to hosts in `never_block`.
    ///
    /// `never_block` replaces the key `NEVER_BLOCK`, whose default depends on the
    /// addresses, gateways and name servers of the host. The caller combines the two:
    ///
    /// ```
    /// # use portsentry_config::Configuration;
    /// # use portsentry_core::config::Settings;
    /// # let configuration = Configuration::new(Settings::built_in());
    /// # let of_this_host = Vec::new;
    /// let networks = configuration.settings.never_block.clone();
    /// let policy = configuration.policy(networks.unwrap_or_else(of_this_host).into_iter().collect());
    /// assert!(policy.tcp_ports.contains(23));
    /// assert!(!policy.block_tcp);
    /// ```
    pub fn policy(&self, never_block: NetworkSet) -> Policy {
        let settings = &self.settings;
        Policy {
            tcp_ports: self.ports(Protocol::Tcp),
            udp_ports: self.ports(Protocol::Udp),
            ignore: self.ignore.clone(),
            never_block,
            scan_trigger: settings.scan_trigger,
            block_tcp: settings.block_tcp != BlockMode::Log,
            block_udp: settings.block_udp != BlockMode::Log,
            remember_blocked: settings.blocked_file.is_some(),
            block_rate: settings.block_rate,
            respond_to_self: !self.local_check,
            watch_served_ports: !self.service_check,
            served_grace: settings.served_grace,
            ..Policy::default()
        }
    }
}
