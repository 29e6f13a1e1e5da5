//! The secret that decides where an address lands in a table.

use core::hash::Hasher;
use core::net::IpAddr;

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;

/// The key of the engine's hash tables.
///
/// Whoever knows it can choose addresses that meet in one place of a table, so
/// a live program draws it at random at every start and tells nobody. A replay
/// takes a constant, which makes its output repeatable.
#[derive(Clone)]
pub struct HashKey {
    seed: u64,
    shared: SharedSeed,
}

impl HashKey {
    /// A key from 128 bits, all of them random in a live program.
    pub fn new(bits: u128) -> Self {
        Self { seed: (bits >> 64) as u64, shared: SharedSeed::from_u64(bits as u64) }
    }

    /// The hash of an address and a small number beside it. About 3 ns.
    pub(crate) fn hash(&self, address: u128, tag: u16) -> u64 {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write_u128(address);
        hasher.write_u16(tag);
        hasher.finish()
    }
}

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

/// Both families in one number: IPv4 as its IPv4-mapped IPv6 address (RFC 4291
/// section 2.5.5.2), which no packet can legally carry, so nothing collides.
pub(crate) const fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}
