//! Limits of the reassembly of fragments.

use std::time::Duration;

/// Limits of the reassembly of fragments, which should be those of the kernel: then the decoder and
/// the host forget the same datagrams.
///
/// Each value is limited to a range, so that no value makes the memory unbounded. A lower limit than
/// the kernel's default is raised to it for the memory, because more memory hides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct FragmentLimits {
    /// Lifetime of an incomplete IPv4 datagram (`net.ipv4.ipfrag_time`).
    pub lifetime_v4: Duration,
    /// Lifetime of an incomplete IPv6 datagram (`net.ipv6.ip6frag_time`).
    pub lifetime_v6: Duration,
    /// Memory for fragments of IPv4, in bytes (`net.ipv4.ipfrag_high_thresh`).
    pub memory_v4: usize,
    /// Memory for fragments of IPv6, in bytes (`net.ipv6.ip6frag_high_thresh`).
    pub memory_v6: usize,
    /// Maximum number of fragments of other datagrams that a source may send between two fragments
    /// of an IPv4 datagram, or 0 for no limit (`net.ipv4.ipfrag_max_dist`). The kernel restarts
    /// a datagram if there are more.
    pub max_distance: u32,
}

/// Range of the memory for each family, in bytes. The kernel counts at least 700 bytes for a
/// fragment, so it cannot store more than fits here with the same limit.
const MEMORY: [u64; 2] = [4 << 20, 16 << 20];

/// Range of the lifetimes, in seconds.
const SECONDS: [u64; 2] = [1, 3_600];

impl FragmentLimits {
    /// Sets the lifetimes of incomplete datagrams of IPv4 and IPv6, in seconds from 1 to 3,600.
    #[must_use]
    pub fn with_lifetimes(mut self, v4: u64, v6: u64) -> Self {
        [self.lifetime_v4, self.lifetime_v6] =
            [v4, v6].map(|seconds| Duration::from_secs(within(SECONDS, seconds)));
        self
    }

    /// Sets the memory for fragments of IPv4 and IPv6, in bytes from 4 to 16 MiB.
    #[must_use]
    pub fn with_memory(mut self, v4: u64, v6: u64) -> Self {
        [self.memory_v4, self.memory_v6] =
            [v4, v6].map(|bytes| usize::try_from(within(MEMORY, bytes)).unwrap_or(4 << 20));
        self
    }

    /// Sets the maximum distance between fragments of an IPv4 datagram; 0 is no limit.
    #[must_use]
    pub const fn with_max_distance(self, max_distance: u32) -> Self {
        Self { max_distance, ..self }
    }
}

fn within([least, most]: [u64; 2], value: u64) -> u64 {
    value.clamp(least, most)
}

impl Default for FragmentLimits {
    /// Returns the defaults of Linux: 30 and 60 seconds (RFC 8200 section 4.5), 4 MiB, and a
    /// distance of 64.
    fn default() -> Self {
        Self {
            lifetime_v4: Duration::from_secs(30),
            lifetime_v6: Duration::from_secs(60),
            memory_v4: 4 << 20,
            memory_v6: 4 << 20,
            max_distance: 64,
        }
    }
}
