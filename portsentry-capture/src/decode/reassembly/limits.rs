//! Limits of the reassembly of fragments.

use std::path::Path;
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

/// Files with the settings of the kernel.
const LIFETIMES: [&str; 2] = ["/proc/sys/net/ipv4/ipfrag_time", "/proc/sys/net/ipv6/ip6frag_time"];
const THRESHOLDS: [&str; 2] =
    ["/proc/sys/net/ipv4/ipfrag_high_thresh", "/proc/sys/net/ipv6/ip6frag_high_thresh"];
const MAX_DISTANCE: &str = "/proc/sys/net/ipv4/ipfrag_max_dist";

impl FragmentLimits {
    /// Returns the settings of the kernel. `read` returns the content of a file, or `None`. If a
    /// file is missing or does not contain a number, its default is used.
    ///
    /// ```
    /// use portsentry_capture::FragmentLimits;
    ///
    /// let limits = FragmentLimits::of_kernel(|path| std::fs::read(path).ok());
    /// assert!(limits.memory_v4 >= 4 << 20);
    /// ```
    #[must_use]
    pub fn of_kernel(mut read: impl FnMut(&Path) -> Option<Vec<u8>>) -> Self {
        let mut value = |path: &str, default| {
            read(Path::new(path)).and_then(|text| number(&text)).unwrap_or(default)
        };
        let [time_v4, time_v6] = LIFETIMES;
        let [memory_v4, memory_v6] = THRESHOLDS;
        let default = Self::default();
        let distance = value(MAX_DISTANCE, default.max_distance.into());
        Self::default()
            .with_lifetimes(
                value(time_v4, default.lifetime_v4.as_secs()),
                value(time_v6, default.lifetime_v6.as_secs()),
            )
            .with_memory(
                value(memory_v4, default.memory_v4 as u64),
                value(memory_v6, default.memory_v6 as u64),
            )
            .with_max_distance(u32::try_from(distance).unwrap_or(0))
    }

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

/// Returns the number in a file of `/proc/sys`; negative numbers become 0.
fn number(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let number: i128 = text.parse().ok()?;
    Some(u64::try_from(number.max(0)).unwrap_or(u64::MAX))
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
