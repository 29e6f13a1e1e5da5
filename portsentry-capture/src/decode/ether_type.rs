//! EtherTypes, and the VLAN tags before them.
//!
//! The decoder, the packet sockets and the kernel's filter agree on the tags here.

use super::Rejected;

/// IPv4.
pub(crate) const IPV4: u16 = 0x0800;

/// IPv6.
pub(crate) const IPV6: u16 = 0x86dd;

/// VLAN tags: IEEE 802.1Q, 802.1ad, and the older type of outer tags.
pub(crate) const VLAN_TAGS: [u16; 3] = [0x8100, 0x88a8, 0x9100];

/// Maximum number of tags of a frame: one inside another (IEEE 802.1ad).
pub(crate) const MAX_VLAN_TAGS: usize = 2;

/// Skips VLAN tags at the start of `bytes`, which `ether_type` announces. The kernel or the
/// capture may have `removed` tags before. Returns the EtherType after the tags and the bytes
/// that follow it.
pub(crate) fn skip_tags(
    mut ether_type: u16,
    mut bytes: &[u8],
    removed: usize,
) -> Result<(u16, &[u8]), Rejected> {
    let mut tags = removed;
    while VLAN_TAGS.contains(&ether_type) {
        if tags >= MAX_VLAN_TAGS {
            return Err(Rejected::TooManyVlanTags);
        }
        tags += 1;
        let (&[_, _, high, low], behind) = bytes.split_first_chunk().ok_or(Rejected::Truncated)?;
        (ether_type, bytes) = (u16::from_be_bytes([high, low]), behind);
    }
    Ok((ether_type, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_most_two_tags_are_skipped() {
        let check = |removed, tags: &[u16], expected: Result<u16, Rejected>| {
            let mut types = tags.to_vec();
            types.push(IPV6);
            let bytes: Vec<u8> = types[1..]
                .iter()
                .flat_map(|ether_type| [[0, 7], ether_type.to_be_bytes()].concat())
                .chain([0x60, 1, 2])
                .collect();
            let found = skip_tags(types[0], &bytes, removed);
            assert_eq!(found.map(|(ether_type, _)| ether_type), expected, "{removed} {tags:04x?}");
            if let Ok((_, rest)) = found {
                assert_eq!(rest, [0x60, 1, 2]);
            }
        };
        check(0, &[], Ok(IPV6));
        check(0, &[0x8100], Ok(IPV6));
        check(0, &[0x88a8, 0x8100], Ok(IPV6));
        check(0, &[0x9100, 0x8100, 0x8100], Err(Rejected::TooManyVlanTags));
        check(1, &[0x8100], Ok(IPV6));
        check(1, &[0x8100, 0x8100], Err(Rejected::TooManyVlanTags));
        assert_eq!(skip_tags(0x8100, &[0, 7, 8], 0), Err(Rejected::Truncated));
    }
}
