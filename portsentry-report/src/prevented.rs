//! Reasons for which a response is prevented.

use core::fmt;

/// Reason for which a response is prevented although a probe triggered it: it would harm this
/// host or its users. `Display` completes the log line about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Prevented {
    /// The host is in a network of `NEVER_BLOCK`.
    NeverBlock,
    /// The address belongs to this host.
    OwnAddress,
    /// The host is the gateway of a route.
    Gateway,
    /// The host is a name server of this host.
    NameServer,
    /// The host has a connection to the probed port, which this host accepted.
    Connected {
        /// The probed port.
        port: u16,
    },
    /// A local program serves the probed port.
    Served {
        /// The probed port.
        port: u16,
    },
    /// The kernel passes the packet on to another address or port, by a rule that translates its
    /// destination.
    Translated {
        /// The probed port.
        port: u16,
    },
    /// The kernel does not list its routes or sockets, so the host may be any of the above.
    Unknown,
    /// The system has just started, and its services may not run yet.
    JustStarted {
        /// Time from which responses are possible, in seconds.
        seconds: u32,
    },
}

impl fmt::Display for Prevented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeverBlock => f.write_str("it is in NEVER_BLOCK"),
            Self::OwnAddress => f.write_str("it is an address of this host"),
            Self::Gateway => f.write_str("it is a gateway of this host"),
            Self::NameServer => f.write_str("it is a name server of this host"),
            Self::Connected { port } => write!(f, "it is connected to port {port}"),
            Self::Served { port } => write!(f, "a program serves port {port} now"),
            Self::Translated { port } => {
                write!(f, "a rule passes the packets to port {port} on to another address or port")
            }
            Self::Unknown => f.write_str(
                "the kernel does not list its routes or sockets, so the host may be needed",
            ),
            Self::JustStarted { seconds } => write!(
                f,
                "this system has just started; portsentry responds to no host for the next \
                 {seconds} s (SERVED_GRACE)"
            ),
        }
    }
}
