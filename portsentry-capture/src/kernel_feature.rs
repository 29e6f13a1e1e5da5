//! Features of newer kernels that the program can do without.

use std::fmt;

/// A feature of the kernel that this kernel lacks. `Display` names it, the first release of Linux
/// that has it, and the consequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingFeature {
    /// The name of the feature.
    pub name: &'static str,
    /// The first release of Linux that has it.
    pub since: &'static str,
    /// The behaviour without it.
    pub without: &'static str,
}

impl MissingFeature {
    /// Returns the feature, unless a call that uses it `works`.
    pub fn unless(
        works: bool,
        name: &'static str,
        since: &'static str,
        without: &'static str,
    ) -> Option<Self> {
        (!works).then_some(Self { name, since, without })
    }
}

impl fmt::Display for MissingFeature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, since, without } = self;
        write!(f, "lacks {name} (Linux {since}): {without}")
    }
}

/// Returns the features that this kernel lacks, found by trials without an effect. The trial on a
/// packet socket needs `CAP_NET_RAW`; without it, that feature is not returned.
#[cfg(any(feature = "pcap", feature = "raw"))]
pub fn missing_capture_features() -> Vec<MissingFeature> {
    use std::os::fd::AsFd;

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};

    // It is not bound to a protocol, so it receives no packet.
    let socket = socket_with(AddressFamily::PACKET, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
    let outgoing = MissingFeature::unless(
        socket.map_or(true, |socket| crate::live::ignore_outgoing(socket.as_fd()).is_ok()),
        "PACKET_IGNORE_OUTGOING",
        "4.20",
        "the filter drops the packets that this host sends, which costs more for each of them",
    );
    let strict = MissingFeature::unless(
        crate::netlink::has_strict_checks().unwrap_or(true),
        "NETLINK_GET_STRICT_CHK",
        "4.20",
        "whole routing tables are read to find the addresses of this host",
    );
    [outgoing, strict].into_iter().flatten().collect()
}
