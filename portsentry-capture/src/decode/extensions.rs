//! Extension headers that are skipped.

use etherparse::{IpAuthHeaderSlice, IpNumber, Ipv6RawExtHeaderSlice};

use super::Rejected;
use super::payload::Payload;

/// Skips hop-by-hop or destination options. The length counts units of 8 bytes without the
/// first, so 0 is the usual value (RFC 8200 section 4.3).
pub(super) fn options(payload: Payload<'_>) -> Result<(IpNumber, Payload<'_>), Rejected> {
    match Ipv6RawExtHeaderSlice::from_slice(payload.captured) {
        Ok(header) => Ok((header.next_header(), payload.behind(header.slice().len())?)),
        Err(error) => Err(payload.shortage(error.required_len, Rejected::ExtensionHeader)),
    }
}

/// Skips a routing header, which has the same form. If segments are left, the packet has to be
/// forwarded to another host (RFC 8200 section 4.4). By default Linux does not forward it and
/// sends no reply.
pub(super) fn routing(payload: Payload<'_>) -> Result<(IpNumber, Payload<'_>), Rejected> {
    let behind = options(payload)?;
    match payload.captured {
        [_, _, _, left, ..] if *left > 0 => Err(Rejected::NotForThisHost),
        _ => Ok(behind),
    }
}

/// Skips an authentication header. The length counts units of 4 bytes without the first two
/// (RFC 4302 section 2.2).
pub(super) fn authentication(payload: Payload<'_>) -> Result<(IpNumber, Payload<'_>), Rejected> {
    use etherparse::err::ip_auth::HeaderSliceError;

    match IpAuthHeaderSlice::from_slice(payload.captured) {
        Ok(header) => Ok((header.next_header(), payload.behind(header.slice().len())?)),
        Err(HeaderSliceError::Len(error)) => {
            Err(payload.shortage(error.required_len, Rejected::ExtensionHeader))
        }
        Err(HeaderSliceError::Content(_)) => Err(Rejected::ExtensionHeader),
    }
}
