//! Opens the sensors that the options select.

use std::sync::Arc;
use std::time::Duration;

use portsentry_capture::{
    CaptureOptions, ConnectOptions, FragmentLimits, LiveBackend, RawBackend, Selection, SensorSet,
};
#[cfg(feature = "rings")]
use portsentry_capture::{RingBackend, SourceHash};
use portsentry_config::Configuration;
use portsentry_core::Protocol;
use portsentry_core::config::{BlockMode, Settings};
use portsentry_report::Importance;
#[cfg(feature = "rings")]
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

#[cfg(not(feature = "rings"))]
use super::one_ring::SourceHash;
use super::sensors::{SensorSettings, Sensors};
use crate::arguments::{Method, WatchOptions};
use crate::failure::Failure;
use portsentry_output::Queue;

/// The selected sensors, after the options were checked.
pub(crate) struct Watching<'a> {
    options: &'a WatchOptions,
    selection: Selection,
    importance: Importance,
}

impl<'a> Watching<'a> {
    /// Checks the options. Opens nothing.
    pub(crate) fn from_options(options: &'a WatchOptions) -> Result<Self, Failure> {
        if !options.connect {
            check_method(options.method)?;
        }
        let importance = options.general.importance();
        Ok(Self { options, selection: selection(options)?, importance })
    }

    /// Opens the sensors of each ring that `configuration` defines. `hash` distributes the sources
    /// among the rings. Bound sockets have no rings.
    pub(crate) fn open(
        self,
        configuration: &Configuration,
        #[cfg_attr(not(feature = "rings"), expect(unused_variables))] hash: SourceHash,
        queue: &Arc<Queue>,
    ) -> Result<Vec<Sensors>, Failure> {
        let settings = &configuration.settings;
        if self.options.connect {
            let SensorSettings { tcp_ports, udp_ports, banner, .. } =
                SensorSettings::of(configuration, FragmentLimits::default());
            let connect = ConnectOptions::new(tcp_ports, udp_ports)
                .with_addresses(self.options.bind.clone())
                .with_banner(banner);
            return Ok(vec![Sensors::listen(connect, queue, self.importance)?]);
        }
        let options = capture_options(self.options.method, settings);
        let stealth = |backend: Box<dyn LiveBackend + Send>| -> Result<Sensors, Failure> {
            let set = SensorSet::builder(self.selection.clone(), backend)
                .tcp_ports(configuration.ports(Protocol::Tcp))
                .udp_ports(configuration.ports(Protocol::Udp))
                .open()?;
            Ok(Sensors::Stealth(Box::new(set)))
        };
        #[cfg(feature = "rings")]
        if settings.capture_rings > 1 {
            allow_descriptors();
            let backends = RingBackend::several(settings.capture_rings, hash, options)
                .map_err(Failure::system("cannot create the packet rings"))?;
            return backends.into_iter().map(|backend| stealth(Box::new(backend))).collect();
        }
        Ok(vec![stealth(backend(self.options.method, options))?])
    }
}

/// Returns the number of rings for each interface: one, if the program cannot do more.
pub(crate) fn rings(settings: &Settings) -> u16 {
    if cfg!(feature = "rings") { settings.capture_rings.max(1) } else { 1 }
}

/// Raises the limit of open files as far as possible: each ring of each interface needs a file, and
/// 16 rings of 60 interfaces reach the usual limit.
#[cfg(feature = "rings")]
fn allow_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    // On failure, the open that exceeds the limit reports the error.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Returns the interfaces that the options select.
fn selection(options: &WatchOptions) -> Result<Selection, Failure> {
    let all = match options.method {
        Method::Pcap => "ALL_NLO",
        Method::Raw => "ALL",
    };
    let words = match options.interface.as_slice() {
        [] => vec![all],
        names => names.iter().map(|name| known(name, options.method)).collect(),
    };
    Selection::parse(&words)
        .and_then(|selection| selection.excluding(&options.exclude))
        .map_err(|error| Failure::Usage(error.to_string()))
}

/// `any` is a device of libpcap; a raw sensor opens all interfaces instead.
fn known(name: &str, method: Method) -> &str {
    match method {
        Method::Raw if name == "any" => "ALL",
        Method::Pcap | Method::Raw => name,
    }
}

/// Returns an error if this build lacks the method.
fn check_method(method: Method) -> Result<(), Failure> {
    if method == Method::Pcap && !cfg!(feature = "pcap") {
        let message = "this portsentry was built without libpcap, so it cannot read packets \
                       with the method pcap; the method raw is the default here";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(())
}

/// Returns the capture method that the options select.
fn backend(method: Method, options: CaptureOptions) -> Box<dyn LiveBackend + Send> {
    match method {
        #[cfg(feature = "pcap")]
        Method::Pcap => Box::new(portsentry_capture::PcapBackend::new(options)),
        // `check_method` has refused this method.
        #[cfg(not(feature = "pcap"))]
        Method::Pcap => Box::new(RawBackend::new(options)),
        Method::Raw => Box::new(RawBackend::new(options)),
    }
}

/// Time that a packet may wait if hosts are blocked and no latency is configured: a scanner
/// continues during that time.
///
/// A ring of [`LASTING`] still lasts for half a second then. The ring of libpcap would last for 64
/// ms, which is not enough for a busy host.
const LATENCY_OF_BLOCKING: Duration = Duration::from_millis(2);

/// Size in MiB at which the ring of a raw sensor lasts for half a second with that latency.
const LASTING: u32 = 4;

fn capture_options(method: Method, settings: &Settings) -> CaptureOptions {
    let mut default = CaptureOptions::default();
    let responds = [settings.block_tcp, settings.block_udp].iter().any(|it| *it != BlockMode::Log);
    let buffer = settings.capture_buffer.unwrap_or(default.buffer);
    let ring = buffer / u32::from(rings(settings));
    if responds && method == Method::Raw && ring >= LASTING {
        default.latency = LATENCY_OF_BLOCKING;
    }
    let latency = settings.capture_latency.map(|ms| Duration::from_millis(ms.into()));
    default.with_buffer(buffer).with_latency(latency.unwrap_or(default.latency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_capture_with_blocking_has_a_shorter_default_latency() {
        use BlockMode::{Block, Command, Log};
        use Method::{Pcap, Raw};
        let cases = [
            (Raw, Log, Log, None, 5),
            (Raw, Block, Log, None, 2),
            (Raw, Log, Command, None, 2),
            (Raw, Block, Block, Some(7), 7),
            (Raw, Log, Log, Some(1), 1),
            (Pcap, Block, Block, None, 5),
            (Pcap, Block, Block, Some(1), 1),
        ];
        for (method, block_tcp, block_udp, capture_latency, expected) in cases {
            let mut settings = Settings::default();
            (settings.block_tcp, settings.block_udp) = (block_tcp, block_udp);
            settings.capture_latency = capture_latency;
            let options = capture_options(method, &settings);
            assert_eq!(options.latency.as_millis(), expected, "{method:?} {settings:?}");
            assert_eq!(options.buffer, CaptureOptions::default().buffer);
        }
    }

    #[test]
    fn a_short_latency_needs_a_large_enough_ring() {
        // Without the feature, there is one ring, which has the whole buffer.
        let divided = if cfg!(feature = "rings") { 5 } else { 2 };
        for (buffer, rings, expected) in
            [(8, 1, 2), (8, 2, 2), (8, 4, divided), (32, 4, 2), (1, 1, 5)]
        {
            let mut settings = Settings::default();
            settings.block_tcp = BlockMode::Block;
            (settings.capture_buffer, settings.capture_rings) = (Some(buffer), rings);
            let options = capture_options(Method::Raw, &settings);
            assert_eq!(options.latency.as_millis(), expected, "{buffer} MiB, {rings} rings");
        }
    }
}
