//! Selects the ring of a source, if there are several.
//!
//! The kernel and this process must compute the same hash, so it consists of operations that a
//! classic BPF program has. It only distributes sources evenly. An attacker with the key could
//! direct many sources to one ring, which costs time in that ring.

use std::net::IpAddr;

/// A keyed hash of addresses.
///
/// An IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2) has the hash of the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceHash {
    pub(super) seed: u32,
    /// Multiplier for each word of an address.
    pub(super) each: u32,
    /// Multiplier at the end.
    pub(super) last: u32,
}

impl SourceHash {
    /// Numbers of bits to shift after each word, and at the end.
    pub(super) const EACH: u32 = 15;
    pub(super) const LAST: u32 = 16;

    /// Creates a hash with this key, which should be random so that no attacker can predict it.
    #[must_use]
    pub const fn new(key: u128) -> Self {
        // Multiplication by an odd number loses no bits.
        Self { seed: key as u32, each: (key >> 32) as u32 | 1, last: (key >> 64) as u32 | 1 }
    }

    /// Returns the ring of `source`, a number below `rings`, which is at least 1. About 5 ns.
    #[must_use]
    pub fn ring(&self, source: IpAddr, rings: u16) -> usize {
        (self.hash(source) % u32::from(rings.max(1))) as usize
    }

    fn hash(&self, source: IpAddr) -> u32 {
        let hash = match source.to_canonical() {
            IpAddr::V4(v4) => self.stir(self.seed, v4.to_bits()),
            IpAddr::V6(v6) => {
                let bits = v6.to_bits();
                let words = [96, 64, 32, 0].map(|shift| (bits >> shift) as u32);
                words.into_iter().fold(self.seed, |hash, word| self.stir(hash, word))
            }
        };
        let hash = hash.wrapping_mul(self.last);
        hash ^ hash >> Self::LAST
    }

    const fn stir(&self, hash: u32, word: u32) -> u32 {
        let hash = (hash ^ word).wrapping_mul(self.each);
        hash ^ hash >> Self::EACH
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    /// Tests sources that differ in only one octet, at any position, and sources far apart.
    #[test]
    fn neighbouring_sources_are_distributed_evenly() {
        let v4 = |place: u32, number: u32| {
            IpAddr::from(Ipv4Addr::from_bits(0x0b16_212c ^ number << place))
        };
        let v6 = |place: u32, number: u32| {
            let net = 0x2001_0db8_0000_0000_0000_0000_0000_0001_u128;
            IpAddr::from(Ipv6Addr::from_bits(net ^ u128::from(number) << place))
        };
        for key in [1, 7, 0x9f3a_c281_55d0_1b7e_44f0_93e1_7c2b_a685, u128::MAX / 5] {
            let key = SourceHash::new(key ^ 0x6a09_e667_f3bc_c908_b2fb_1366_ea95_7d3e);
            let check = |what: &str, sources: &mut dyn Iterator<Item = IpAddr>| {
                let mut rings = [0_u32; 4];
                sources.for_each(|source| rings[key.ring(source, 4)] += 1);
                let all: u32 = rings.iter().sum();
                for ring in rings {
                    assert!(ring > all / 8 && ring < all / 2, "{what}: {rings:?}");
                }
            };
            for place in [0, 8, 16, 24] {
                check(&format!("v4 {place}"), &mut (0..256).map(|n| v4(place, n)));
            }
            for place in (0..128).step_by(8) {
                check(&format!("v6 {place}"), &mut (0..256).map(|n| v6(place, n)));
            }
            check("v4 far apart", &mut (0..4096).map(|n| v4(0, n << 20 | n)));
        }
    }

    #[test]
    fn a_mapped_address_has_the_hash_of_its_ipv4_address() {
        let hash = SourceHash::new(77);
        for octet in 0..=255 {
            let v4 = Ipv4Addr::new(192, 0, 2, octet);
            assert_eq!(hash.ring(v4.into(), 16), hash.ring(v4.to_ipv6_mapped().into(), 16));
        }
    }
}
