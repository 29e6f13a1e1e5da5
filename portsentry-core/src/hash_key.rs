//! The secret key of the hash tables.
//!
//! The hash is universal (Carter and Wegman, "Universal classes of hash
//! functions", 1979). For any two addresses chosen without the key, the probability of
//! the same hash is 1 in 2^61. Tables can therefore store the hash in place of the address.
//! Faster hashes of 64 bits guarantee less: with some keys of foldhash, every sixth IPv4
//! address of a network has the hash of another.

use core::net::IpAddr;

/// The prime 2^61 - 1, for which a remainder needs no division.
const PRIME: u64 = (1 << 61) - 1;

/// Number of bits in a piece. Three pieces contain an address and a tag, and the sum of
/// three products with factors below [`PRIME`] fits in 128 bits.
const PIECE: u32 = 48;

/// The step between the states of SplitMix64.
const GOLDEN_RATIO: u64 = 0x9e37_79b9_7f4a_7c15;

/// The key of the engine's hash tables.
///
/// An attacker with the key can choose addresses that collide in a table. A live program
/// therefore uses a random secret key at each start. A replay uses a constant, which
/// makes its output repeatable.
#[derive(Clone)]
pub struct HashKey {
    /// A factor for each piece, from 1 to `PRIME` - 1.
    factors: [u64; 3],
}

impl HashKey {
    /// Creates a key from 128 bits, which are all random in a live program.
    pub fn new(bits: u128) -> Self {
        // Three numbers of the sequence that starts at each half, so that small constants
        // do not give small factors.
        let (high, low) = ((bits >> 64) as u64, bits as u64);
        let factors = [1, 2, 3].map(|step: u64| {
            let increment = step.wrapping_mul(GOLDEN_RATIO);
            let drawn = mix(high.wrapping_add(increment)) ^ mix(low.wrapping_sub(increment));
            1 + drawn % (PRIME - 1)
        });
        Self { factors }
    }

    /// Creates a random key, from the source that seeds the hash tables of the standard
    /// library.
    #[cfg(feature = "std")]
    pub fn random() -> Self {
        use std::hash::{BuildHasher as _, RandomState};

        // SipHash of different messages under a secret key.
        let state = RandomState::new();
        let [high, low] = [1_u64, 2].map(|message| u128::from(state.hash_one(message)));
        Self::new(high << 64 | low)
    }

    /// Returns the index of the engine, below `engines`, for the observations of `source`;
    /// for several engines, each on its own thread. All observations of a source,
    /// IPv4-mapped or not, belong to one engine. Takes about 4 ns.
    ///
    /// The engines may have the same key: the index is independent of the positions in
    /// their tables.
    ///
    /// ```
    /// use portsentry_core::HashKey;
    ///
    /// let key = HashKey::new(7);
    /// let owner = key.shard("192.0.2.7".parse().unwrap(), 4);
    /// assert!(owner < 4);
    /// assert_eq!(key.shard("::ffff:192.0.2.7".parse().unwrap(), 4), owner);
    /// ```
    pub fn shard(&self, source: IpAddr, engines: usize) -> usize {
        // Tables use the upper bits of the hash. The second mix makes the index independent
        // of them.
        let hash = mix(self.hash(address_bits(source), 0).wrapping_add(GOLDEN_RATIO));
        ((u128::from(hash) * engines as u128) >> 64) as usize
    }

    /// Returns the hash of an address and a tag, never 0. Two IPv4 addresses with the same
    /// tag have different hashes. Takes about 4 ns.
    #[inline]
    pub(crate) fn hash(&self, address: u128, tag: u16) -> u64 {
        let mask = (1 << PIECE) - 1;
        let last = (address << 16) as u64 & mask | u64::from(tag);
        let pieces = [(address >> 80) as u64, (address >> 32) as u64 & mask, last];
        let sum: u128 = pieces
            .iter()
            .zip(self.factors)
            .map(|(piece, factor)| u128::from(*piece) * u128::from(factor))
            .sum();
        // 2^61 is 1 modulo the prime, so the remainder is the sum of the digits in base 2^61.
        let folded = (sum as u64 & PRIME) + (sum >> 61) as u64;
        let remainder = if folded >= PRIME { folded - PRIME } else { folded };
        // Consecutive addresses have consecutive remainders; `mix` scatters them. It maps
        // different numbers to different ones, and 0 to 0, so its input must not be 0.
        mix(remainder + 1)
    }
}

impl core::fmt::Debug for HashKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("HashKey(secret)")
    }
}

/// Returns an address of either family as one number. An IPv4 address becomes its
/// IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2). No host has such an address, so the
/// families do not collide.
pub(crate) const fn address_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Returns the output function of SplitMix64 (Steele, Lea and Flood, 2014). Different
/// inputs have different results, and each bit depends on all bits of the input.
const fn mix(bits: u64) -> u64 {
    let bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// Returns the inverse of [`mix`], with the inverses of its factors modulo 2^64.
    fn unmix(bits: u64) -> u64 {
        let bits = (bits ^ bits >> 31 ^ bits >> 62).wrapping_mul(0x3196_42b2_d24d_8ec3);
        let bits = (bits ^ bits >> 27 ^ bits >> 54).wrapping_mul(0x96de_1b17_3f11_9089);
        bits ^ bits >> 30 ^ bits >> 60
    }

    /// Returns consecutive addresses and networks, as in a scan, with the tags of sources and
    /// served ports.
    fn addresses() -> impl Iterator<Item = (u128, u16)> {
        let v6 = 0x2001_0db8_u128 << 96;
        let v4 = (0..50_000_u32).map(|n| address_bits(IpAddr::V4((0x0a00_0000 + n).into())));
        let hosts = (0..50_000).map(move |n| v6 + n);
        let subnets = (1..=50_000).map(move |n| v6 + (n << 64));
        v4.chain(hosts).chain(subnets).flat_map(|address| [(address, 0), (address, 80)])
    }

    #[test]
    fn close_addresses_have_different_hashes_in_all_parts_of_a_table() {
        for bits in [0, 1, 1 << 64, u128::MAX, 0x1234_5678_9abc_def0_0fed_cba9_8765_4321] {
            let key = HashKey::new(bits);
            let mut hashes: Vec<u64> =
                addresses().map(|(address, tag)| key.hash(address, tag)).collect();
            let all = hashes.len();
            hashes.sort_unstable();
            hashes.dedup();
            assert_eq!(hashes.len(), all, "{bits:x}");
            // 1024 parts, by the upper bits and by the lower ones.
            for shift in [54, 0] {
                let mut shares = [0_usize; 1024];
                hashes.iter().for_each(|hash| shares[(hash >> shift) as usize % 1024] += 1);
                // Six standard deviations of a binomial distribution.
                let (mean, spread) = (all / 1024, 6 * (all / 1024).isqrt());
                let fair = (mean - spread)..=(mean + spread);
                assert!(shares.iter().all(|share| fair.contains(share)), "{bits:x}");
            }
        }
    }

    proptest! {
        #[test]
        fn is_the_remainder_of_the_sum(address: u128, tag: u16, bits: u128) {
            let key = HashKey::new(bits);
            // Digit by digit, so that nothing can overflow.
            let written = [address >> 80, address >> 32 & 0xffff_ffff_ffff, address & 0xffff_ffff];
            let pieces = [written[0], written[1], written[2] * 65_536 + u128::from(tag)];
            let prime = u128::from(PRIME);
            let remainder = pieces.iter().zip(key.factors).fold(0, |sum, (piece, factor)| {
                (sum + piece % prime * u128::from(factor) % prime) % prime
            });
            prop_assert_eq!(key.hash(address, tag), mix(remainder as u64 + 1));
        }

        /// Only one piece of an IPv4 address varies, and its factor has an inverse, so the
        /// address can be computed from the hash.
        #[test]
        fn an_ipv4_address_follows_from_its_hash(address: u32, tag: u16, bits: u128) {
            let key = HashKey::new(bits);
            let hash = key.hash(address_bits(IpAddr::V4(address.into())), tag);
            let constant = u128::from(key.factors[1]) * 0xffff;
            let remainder = u128::from(unmix(hash) - 1) + u128::from(PRIME) * 0xffff - constant;
            // Fermat: the inverse of a factor is its power with the exponent prime - 2.
            let product = |a: u128, b: u128| a * b % u128::from(PRIME);
            let (mut inverse, mut square) = (1, u128::from(key.factors[2]));
            for bit in 0..61 {
                if (PRIME - 2) >> bit & 1 == 1 {
                    inverse = product(inverse, square);
                }
                square = product(square, square);
            }
            let piece = product(remainder % u128::from(PRIME), inverse);
            prop_assert_eq!(piece, u128::from(address) << 16 | u128::from(tag));
        }

        #[test]
        fn each_half_of_the_key_affects_the_hash(bits: u128, flipped in 0..128) {
            let (one, other) = (HashKey::new(bits), HashKey::new(bits ^ 1_u128 << flipped));
            prop_assert_ne!(one.hash(7, 0), other.hash(7, 0));
        }
    }
}
