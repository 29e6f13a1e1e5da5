//! Messages of connect mode to the administrator.

use std::fmt;
use std::io;
use std::net::IpAddr;

use portsentry_core::Protocol;

/// Address and port of a bound socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Endpoint {
    /// Bound address. `::` covers both families unless [`v6_only`](Self::v6_only) is set.
    pub address: IpAddr,
    /// Whether the socket is restricted to IPv6.
    pub v6_only: bool,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
}

/// A message to the administrator. `Display` writes its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectNotice {
    /// A port was bound.
    Bound(Endpoint),
    /// A port could not be bound, so it is not watched.
    #[non_exhaustive]
    NotBound {
        /// The address and port.
        endpoint: Endpoint,
        /// Error number of `errno(3)`.
        errno: i32,
    },
    /// This host does not have the address, so no port could be bound to it.
    #[non_exhaustive]
    NoSuchAddress {
        /// The address.
        address: IpAddr,
    },
    /// A connection could not be accepted.
    #[non_exhaustive]
    AcceptFailed {
        /// The port.
        port: u16,
        /// Error number of `errno(3)`.
        errno: i32,
    },
}

impl fmt::Display for ConnectNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bound(Endpoint { address, protocol, port, .. }) => {
                let family = if address.is_ipv4() { "AF_INET" } else { "AF_INET6" };
                write!(f, "Listen on {family}: {protocol} port: {port}")
            }
            Self::NotBound { endpoint, errno } => {
                let Endpoint { address, protocol, port, .. } = endpoint;
                write!(f, "Cannot listen on {protocol} port {port}")?;
                if !address.is_unspecified() {
                    write!(f, " of {address}")?;
                }
                write!(f, ": {}", error_text(*errno))
            }
            Self::NoSuchAddress { address } => {
                write!(f, "Cannot listen on {address}: this host does not have that address")
            }
            Self::AcceptFailed { port, errno } => write!(
                f,
                "attackalert: Possible stealth scan from unknown host to TCP port: {port} \
                 (accept failed {errno}: {})",
                error_text(*errno)
            ),
        }
    }
}

/// Returns the system's text for `errno`, as `strerror(3)` does.
fn error_text(errno: i32) -> String {
    let mut text = io::Error::from_raw_os_error(errno).to_string();
    if let Some(end) = text.rfind(" (os error ") {
        text.truncate(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use rustix::io::Errno;

    use super::*;

    #[test]
    fn notices_have_the_expected_texts() {
        let check = |notice: ConnectNotice, line: &str| assert_eq!(notice.to_string(), line);
        let endpoint = |address: &str, protocol| Endpoint {
            address: address.parse().unwrap(),
            v6_only: false,
            protocol,
            port: 79,
        };
        let wildcard = endpoint("::", Protocol::Tcp);
        check(ConnectNotice::Bound(wildcard), "Listen on AF_INET6: TCP port: 79");
        check(
            ConnectNotice::Bound(endpoint("192.0.2.1", Protocol::Udp)),
            "Listen on AF_INET: UDP port: 79",
        );
        check(
            ConnectNotice::NotBound { endpoint: wildcard, errno: Errno::ADDRINUSE.raw_os_error() },
            "Cannot listen on TCP port 79: Address already in use",
        );
        check(
            ConnectNotice::NotBound {
                endpoint: endpoint("2001:db8::1", Protocol::Udp),
                errno: Errno::ACCESS.raw_os_error(),
            },
            "Cannot listen on UDP port 79 of 2001:db8::1: Permission denied",
        );
        check(
            ConnectNotice::NoSuchAddress { address: "192.0.2.9".parse().unwrap() },
            "Cannot listen on 192.0.2.9: this host does not have that address",
        );
        check(
            ConnectNotice::AcceptFailed { port: 23, errno: Errno::MFILE.raw_os_error() },
            "attackalert: Possible stealth scan from unknown host to TCP port: 23 \
             (accept failed 24: Too many open files)",
        );
    }
}
