//! The bytes of the blocked file, in the format of the original.
//!
//! A record is a 2-byte address family in the byte order of the machine (2 for
//! IPv4, 10 for IPv6 on Linux) and 4 or 16 address bytes in network order;
//! there is no header. Records are appended and never changed, so an
//! interrupted write can hurt only the last one. Nothing here opens a file: a
//! fuzz target reads any bytes with it.

use std::net::IpAddr;

const FAMILY_V4: u16 = 2;
const FAMILY_V6: u16 = 10;

/// What stands in the bytes of a blocked file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The hosts, in the order they were blocked.
    pub hosts: Vec<IpAddr>,
    /// Bytes of an unfinished last record.
    pub torn: usize,
}

/// A place where no record begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OddRecord {
    /// Records before it.
    pub records: usize,
    /// Where they end, in bytes.
    pub offset: usize,
}

impl Restored {
    /// Reads a whole file. O(n).
    ///
    /// # Errors
    ///
    /// At the first family that is neither of IPv4 nor of IPv6.
    pub fn read(bytes: &[u8]) -> Result<Self, OddRecord> {
        let mut hosts = Vec::with_capacity(bytes.len() / 6);
        let mut rest = bytes;
        while let Some((family, tail)) = rest.split_first_chunk::<2>() {
            let (host, tail) = match u16::from_ne_bytes(*family) {
                FAMILY_V4 => match tail.split_first_chunk::<4>() {
                    Some((octets, tail)) => (IpAddr::from(*octets), tail),
                    None => break,
                },
                FAMILY_V6 => match tail.split_first_chunk::<16>() {
                    Some((octets, tail)) => (IpAddr::from(*octets), tail),
                    None => break,
                },
                _ => {
                    let offset = bytes.len() - rest.len();
                    return Err(OddRecord { records: hosts.len(), offset });
                }
            };
            hosts.push(host);
            rest = tail;
        }
        Ok(Self { hosts, torn: rest.len() })
    }
}

/// The records of `hosts`.
pub fn encode_records(hosts: &[IpAddr]) -> Vec<u8> {
    let mut records = Vec::with_capacity(hosts.len() * 6);
    for host in hosts {
        match host {
            IpAddr::V4(v4) => {
                records.extend_from_slice(&FAMILY_V4.to_ne_bytes());
                records.extend_from_slice(&v4.octets());
            }
            IpAddr::V6(v6) => {
                records.extend_from_slice(&FAMILY_V6.to_ne_bytes());
                records.extend_from_slice(&v6.octets());
            }
        }
    }
    records
}
