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

/// Maximum number of tags of a frame that name a VLAN: one inside another (IEEE 802.1ad).
pub(crate) const MAX_VLAN_TAGS: usize = 2;

/// Mask of the VLAN in the control information of a tag. A tag with VLAN 0 contains only a
/// priority (IEEE 802.1Q section 9.6), and Linux removes any number of them
/// (`__netif_receive_skb_core` in `net/core/dev.c`).
pub(crate) const VLAN_ID: u16 = 0x0fff;

/// EtherType of the older outer tags, which Linux does not process.
const OLD_OUTER_TAG: u16 = 0x9100;

/// Skips VLAN tags at the start of `bytes`, which `ether_type` announces. The kernel or the
/// capture may have `removed` tags that name a VLAN before. Returns the EtherType after the tags
/// and the bytes that follow it. The length of `bytes` bounds the number of priority tags.
pub(crate) fn skip_tags(
    mut ether_type: u16,
    mut bytes: &[u8],
    removed: usize,
) -> Result<(u16, &[u8]), Rejected> {
    let mut tags = removed;
    while VLAN_TAGS.contains(&ether_type) {
        let (&[c0, c1, high, low], behind) =
            bytes.split_first_chunk().ok_or(Rejected::Truncated)?;
        if ether_type == OLD_OUTER_TAG || u16::from_be_bytes([c0, c1]) & VLAN_ID != 0 {
            if tags >= MAX_VLAN_TAGS {
                return Err(Rejected::TooManyVlanTags);
            }
            tags += 1;
        }
        (ether_type, bytes) = (u16::from_be_bytes([high, low]), behind);
    }
    Ok((ether_type, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tags_with_a_vlan_and_any_priority_tags_are_skipped() {
        let check_of = |vlan: u8, removed, tags: &[u16], expected: Result<u16, Rejected>| {
            let mut types = tags.to_vec();
            types.push(IPV6);
            let bytes: Vec<u8> = types[1..]
                .iter()
                .flat_map(|ether_type| [[0xe0, vlan], ether_type.to_be_bytes()].concat())
                .chain([0x60, 1, 2])
                .collect();
            let found = skip_tags(types[0], &bytes, removed);
            assert_eq!(found.map(|(ether_type, _)| ether_type), expected, "{removed} {tags:04x?}");
            if let Ok((_, rest)) = found {
                assert_eq!(rest, [0x60, 1, 2]);
            }
        };
        let check = |removed, tags: &[u16], expected| check_of(7, removed, tags, expected);
        check(0, &[], Ok(IPV6));
        check(0, &[0x8100], Ok(IPV6));
        check(0, &[0x88a8, 0x8100], Ok(IPV6));
        check(0, &[0x9100, 0x8100, 0x8100], Err(Rejected::TooManyVlanTags));
        check(1, &[0x8100], Ok(IPV6));
        check(1, &[0x8100, 0x8100], Err(Rejected::TooManyVlanTags));
        assert_eq!(skip_tags(0x8100, &[0, 7, 8], 0), Err(Rejected::Truncated));
        check_of(0, 2, &[0x8100; 300], Ok(IPV6));
        check_of(0, 2, &[0x8100, 0x88a8], Ok(IPV6));
        check_of(0, 0, &[0x9100; 3], Err(Rejected::TooManyVlanTags));
    }
}
