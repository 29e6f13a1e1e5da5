//! The bytes of the blocked file, in the format of the original.
//!
//! A record is a 2-byte address family in the byte order of the machine (2 for IPv4, 10 for IPv6 on
//! Linux) and 4 or 16 address bytes in network order; there is no header. Records are appended and
//! never changed, so an interrupted write can damage only the last one. Nothing here opens a file,
//! so that a fuzz target can pass any bytes.

use std::net::IpAddr;

const FAMILY_V4: u16 = 2;
const FAMILY_V6: u16 = 10;

/// Content of a blocked file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// The hosts, in the order they were blocked.
    pub hosts: Hosts,
    /// Number of bytes of an unfinished last record.
    pub torn: usize,
}

/// The hosts of a blocked file, stored as encoded records: a million hosts take 6 MB and need no
/// conversion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosts {
    /// Whole records and nothing else.
    records: Vec<u8>,
    number: usize,
}

/// Position of bytes that are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OddRecord {
    /// Number of records before it.
    pub records: usize,
    /// End of the last record, in bytes.
    pub offset: usize,
}

impl Restored {
    /// Reads the bytes of a whole file. O(n); the bytes are kept and not copied.
    ///
    /// # Errors
    ///
    /// At the first address family other than IPv4 and IPv6.
    pub fn read(mut bytes: Vec<u8>) -> Result<Self, OddRecord> {
        let (mut number, mut rest) = (0, &bytes[..]);
        loop {
            match next_record(rest) {
                Next::Host(_, behind) => (number, rest) = (number + 1, behind),
                Next::Unfinished => break,
                Next::Damaged => {
                    let offset = bytes.len() - rest.len();
                    return Err(OddRecord { records: number, offset });
                }
            }
        }
        let torn = rest.len();
        bytes.truncate(bytes.len() - torn);
        Ok(Self { hosts: Hosts { records: bytes, number }, torn })
    }
}

impl Hosts {
    /// Returns the number of hosts.
    pub fn len(&self) -> usize {
        self.number
    }

    /// Returns whether there is no host.
    pub fn is_empty(&self) -> bool {
        self.number == 0
    }

    /// Returns the encoded records.
    pub fn into_records(self) -> Vec<u8> {
        self.records
    }

    /// Returns the hosts, in the order they were blocked.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + Clone {
        let mut rest = &self.records[..];
        std::iter::from_fn(move || match next_record(rest) {
            Next::Host(host, behind) => {
                rest = behind;
                Some(host)
            }
            Next::Unfinished | Next::Damaged => None,
        })
    }
}

/// Result of reading one record.
enum Next<'a> {
    /// A record, and the bytes after it.
    Host(IpAddr, &'a [u8]),
    /// No byte, or the first bytes of a record.
    Unfinished,
    /// Bytes that are not a record.
    Damaged,
}

fn next_record(bytes: &[u8]) -> Next<'_> {
    let Some((family, tail)) = bytes.split_first_chunk::<2>() else { return Next::Unfinished };
    let record = match u16::from_ne_bytes(*family) {
        FAMILY_V4 => tail.split_first_chunk::<4>().map(|(it, behind)| (IpAddr::from(*it), behind)),
        FAMILY_V6 => tail.split_first_chunk::<16>().map(|(it, behind)| (IpAddr::from(*it), behind)),
        _ => return Next::Damaged,
    };
    record.map_or(Next::Unfinished, |(host, behind)| Next::Host(host, behind))
}

/// Returns the records of `hosts`.
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
