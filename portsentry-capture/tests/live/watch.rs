//! Methods of capture, and functions that drain a sensor until the expected packets are
//! read.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use portsentry_capture::{
    CaptureOptions, Drained, Interface, LiveBackend, PcapBackend, RawBackend, Sensor,
};
use portsentry_core::{Evidence, Observation};
use portsentry_testbed::Namespace;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Target port of the datagrams that [`watch_to_marker`] sends.
const MARKER: u16 = 7;

/// A method of capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Pcap,
    Raw,
    /// Four rings for each interface, all read by the test.
    #[cfg(feature = "rings")]
    Rings,
}

impl Method {
    /// Returns the number of rings for each interface.
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

/// Defines a test for each method of capture, of each named function.
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

/// Drains `sensor` until `enough` returns true for all observations so far, and returns them.
#[track_caller]
pub(crate) fn watch_until(
    sensor: &mut dyn Sensor,
    enough: impl Fn(&[Observation]) -> bool,
) -> Vec<Observation> {
    let deadline = Instant::now() + TIME_LIMIT;
    let mut seen = Vec::new();
    loop {
        // A small budget, so that tests also cover `More`.
        while sensor.drain(16, &mut |it| seen.push(*it)).expect("drain") == Drained::More {}
        if enough(&seen) {
            return seen;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "timed out; observed: {seen:#?}\n{:?}", sensor.stats());
        let timeout = Timespec::try_from(left).expect("time");
        let descriptor = sensor.descriptor().expect("descriptor");
        let mut interest = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
        poll(&mut interest, Some(&timeout)).expect("poll");
    }
}

/// Sends one last datagram from the scanner to `to`, drains until it arrives, and returns
/// all observations before it. Packets of one interface keep their order, so all packets
/// that were sent earlier have arrived by then.
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

/// Returns whether this is the datagram that [`watch_to_marker`] sends.
pub(crate) fn is_marker(it: &Observation) -> bool {
    (it.source_port, it.target_port, it.evidence) == (MARKER, MARKER, Evidence::Datagram)
}

/// Connects to a closed TCP port: sends one SYN and receives the RST.
#[track_caller]
pub(crate) fn knock(scanner: &Namespace, at: SocketAddr) {
    let outcome = scanner.enter(|| TcpStream::connect_timeout(&at, TIME_LIMIT));
    let error = outcome.expect_err("a closed port");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{at}: {error}");
}

/// Returns the interface `name` of the calling thread's namespace.
#[track_caller]
pub(crate) fn interface(name: &str) -> Interface {
    let all = Interface::all().expect("interfaces");
    all.into_iter().find(|it| it.name == name).unwrap_or_else(|| panic!("no interface {name}"))
}

/// Returns targets and target ports, sorted.
pub(crate) fn targets(seen: &[Observation]) -> Vec<(IpAddr, u16)> {
    let mut targets: Vec<_> = seen.iter().map(|it| (it.target, it.target_port)).collect();
    targets.sort_unstable();
    targets
}
