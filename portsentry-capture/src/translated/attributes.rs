//! Attributes of messages of the subsystems of netfilter (`linux/netfilter/nfnetlink.h`).

use netlink_packet_core::NlasIterator;

/// Bytes of the header of a message: family, version, and the generation of the tables.
pub(super) const HEADER: usize = 4;

/// Families in that header.
pub(super) const INET: u8 = 1;
pub(super) const IPV4: u8 = 2;
pub(super) const IPV6: u8 = 10;

/// Returns the type and the value of each attribute, up to the first that is malformed.
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, length) = (attribute.kind(), usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(4..length)?))
    })
}

/// Returns the value of the first attribute of this type.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, value)| (found == kind).then_some(value))
}

/// Returns a number in network byte order.
pub(super) fn number(bytes: &[u8], kind: u16) -> Option<u32> {
    Some(u32::from_be_bytes(attribute(bytes, kind)?.try_into().ok()?))
}

/// Returns a name without the zero byte at its end.
pub(super) fn name(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    Some(until_zero(attribute(bytes, kind)?))
}

/// Returns the bytes before the first zero byte.
pub(super) fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

/// Returns the bytes of an attribute with this type and value, padded to four bytes.
pub(super) fn encode(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Returns the bytes of an attribute that contains a name.
pub(super) fn encode_name(kind: u16, name: &[u8]) -> Vec<u8> {
    encode(kind, &[name, &[0]].concat())
}
