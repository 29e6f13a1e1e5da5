//! Ways to capture, and draining a sensor until what a test waits for has come.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use portsentry_capture::{
    CaptureOptions, Drained, Interface, LiveBackend, PcapBackend, RawBackend, Sensor,
};
use portsentry_core::{Evidence, Observation};
use portsentry_testbed::Namespace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const PATIENCE: Duration = Duration::from_secs(10);

/// The source port of packets that [`marker`] sends.
const MARKER: u16 = 7;

/// A way to capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Pcap,
    Raw,
    /// Four rings for each interface, all read by the test.
    #[cfg(feature = "rings")]
    Rings,
}

impl Method {
    /// Rings for each interface.
    pub(crate) const fn rings(self) -> usize {
        match self {
            Self::Pcap | Self::Raw => 1,
            #[cfg(feature = "rings")]
            Self::Rings => crate::all_rings::RINGS as usize,
        }
    }

    pub(crate) fn backend(self, options: CaptureOptions) -> Box<dyn LiveBackend + Send> {
        match self {
            Self::Pcap => Box::new(PcapBackend::new(options)),
            Self::Raw => Box::new(RawBackend::new(options)),
            #[cfg(feature = "rings")]
            Self::Rings => Box::new(crate::all_rings::AllRings::new(options)),
        }
    }
}

/// Makes a test for each way to capture of each function named.
macro_rules! with_each_method {
    ($($test:ident,)*) => {
        mod through_pcap {
            $(#[test] fn $test() { super::$test(super::Method::Pcap) })*
        }
        mod through_raw {
            $(#[test] fn $test() { super::$test(super::Method::Raw) })*
        }
        #[cfg(feature = "rings")]
        mod through_rings {
            $(#[test] fn $test() { super::$test(super::Method::Rings) })*
        }
    };
}
pub(crate) use with_each_method;

/// Drains `sensor` until `enough` says so of all observations so far.
#[track_caller]
pub(crate) fn watch_until(
    sensor: &mut dyn Sensor,
    enough: impl Fn(&[Observation]) -> bool,
) -> Vec<Observation> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        // A small budget, so that tests come to know `More`.
        while sensor.drain(16, &mut |it| seen.push(*it)).expect("drain") == Drained::More {}
        if enough(&seen) {
            return seen;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "waited in vain; seen: {seen:#?}\n{:?}", sensor.stats());
        let timeout = Timespec::try_from(left).expect("time");
        let descriptor = sensor.descriptor().expect("descriptor");
        let mut interest = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        poll(&mut interest, Some(&timeout)).expect("poll");
    }
}

/// Has the scanner send one last datagram to `to`, drains until it has come,
/// and gives all that came before: packets of one interface keep their order,
/// so nothing that was sent earlier is still on its way.
#[track_caller]
pub(crate) fn watch_to_marker(
    sensor: &mut dyn Sensor,
    scanner: &Namespace,
    to: IpAddr,
) -> Vec<Observation> {
    scanner.enter(|| {
        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
        let socket = UdpSocket::bind((any, MARKER)).expect("bind");
        socket.send_to(b"marker", (to, MARKER)).expect("send");
    });
    let mut seen = watch_until(sensor, |seen| seen.iter().any(is_marker));
    seen.retain(|it| !is_marker(it));
    seen
}

/// Whether it is what [`watch_to_marker`] sends.
pub(crate) fn is_marker(it: &Observation) -> bool {
    (it.source_port, it.target_port, it.evidence) == (MARKER, MARKER, Evidence::Datagram)
}

/// Knocks at a closed TCP port: one SYN, and its RST has come back.
#[track_caller]
pub(crate) fn knock(scanner: &Namespace, at: SocketAddr) {
    let outcome = scanner.enter(|| TcpStream::connect_timeout(&at, PATIENCE));
    let error = outcome.expect_err("a closed port");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{at}: {error}");
}

/// The interface `name` of the calling thread's namespace.
#[track_caller]
pub(crate) fn interface(name: &str) -> Interface {
    let all = Interface::all().expect("interfaces");
    all.into_iter().find(|it| it.name == name).unwrap_or_else(|| panic!("no interface {name}"))
}

/// Targets and target ports, sorted.
pub(crate) fn targets(seen: &[Observation]) -> Vec<(IpAddr, u16)> {
    let mut targets: Vec<_> = seen.iter().map(|it| (it.target, it.target_port)).collect();
    targets.sort_unstable();
    targets
}
