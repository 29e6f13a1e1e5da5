//! Probes from ordinary sockets of the scanner, and a marker packet that proves that all
//! earlier packets have been seen.

use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};

use portsentry_testbed::{Namespace, SOON, Testbed};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with};

use crate::expected::{Kind, UDP};
use crate::station::Sentry;
use crate::witness::Witness;

/// A UDP port that is monitored in addition to those of the test.
pub(crate) const MARKER: u16 = 65_000;

/// Returns the addresses of scanner and host, for each family.
pub(crate) fn both_families(bed: &Testbed) -> [(IpAddr, IpAddr); 2] {
    [
        (bed.scanner.v4().into(), bed.host.v4().into()),
        (bed.scanner.v6().into(), bed.host.v6().into()),
    ]
}

/// Sends one SYN to a closed port from a given address, and waits for the reply.
#[track_caller]
pub(crate) fn syn(scanner: &Namespace, from: IpAddr, to: IpAddr, port: u16) {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let answer = scanner.enter(|| {
        let socket = socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        bind(&socket, &SocketAddr::new(from, 0))?;
        connect(&socket, &SocketAddr::new(to, port))
    });
    assert_eq!(answer, Err(Errno::CONNREFUSED), "from {from} to port {port} of {to}");
}

/// Sends one datagram.
#[track_caller]
pub(crate) fn datagram(scanner: &Namespace, from: IpAddr, to: IpAddr, port: u16) {
    let socket = scanner.enter(|| UdpSocket::bind((from, 0))).expect("bind");
    socket.send_to(b"probe", (to, port)).expect("send");
}

/// Returns whether a connection can be made.
pub(crate) fn can_connect(scanner: &Namespace, to: IpAddr, port: u16) -> bool {
    // Leaves time for a SYN to be sent again on a busy machine.
    let limit = std::time::Duration::from_secs(3);
    scanner.enter(|| TcpStream::connect_timeout(&(to, port).into(), limit)).is_ok()
}

/// Sends the marker to `to` and waits until sentry and witness have seen it. Packets of one
/// interface keep their order, so both have seen all earlier packets.
#[track_caller]
pub(crate) fn settle(
    bed: &Testbed,
    to: IpAddr,
    sentry: &mut Sentry,
    witness: Option<&mut Witness>,
) {
    let from = if to.is_ipv4() { bed.scanner.v4().into() } else { bed.scanner.v6().into() };
    datagram(&bed.scanner, from, to, MARKER);
    sentry.wait_for_part(&port_of(UDP, MARKER));
    if let Some(witness) = witness {
        witness.wait_for_port(MARKER, SOON);
    }
}

/// Returns the part of a line with protocol and port.
pub(crate) fn port_of(kind: Kind, port: u16) -> String {
    format!("protocol: [{}] port: [{port}]", kind.protocol)
}

/// Returns whether the line is about the marker.
pub(crate) fn is_marker(line: &str) -> bool {
    line.contains(&port_of(UDP, MARKER))
}
