//! The control bits of a TCP header.

use core::fmt;
use core::ops::BitOr;

/// The control bits of a TCP header (RFC 9293 section 3.1), with the reserved
/// bits above them: the low 12 bits of header octets 12 and 13.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(from = "u16", into = "u16")
)]
pub struct TcpFlags(u16);

impl TcpFlags {
    /// No bit set.
    pub const NONE: Self = Self(0);
    /// No more data from sender.
    pub const FIN: Self = Self(0x01);
    /// Synchronize sequence numbers.
    pub const SYN: Self = Self(0x02);
    /// Reset the connection.
    pub const RST: Self = Self(0x04);
    /// Push function.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgment field is significant.
    pub const ACK: Self = Self(0x10);
    /// The urgent pointer field is significant.
    pub const URG: Self = Self(0x20);
    /// ECN echo (RFC 3168 section 6.1).
    pub const ECE: Self = Self(0x40);
    /// Congestion window reduced (RFC 3168 section 6.1).
    pub const CWR: Self = Self(0x80);

    /// Creates the value from the low 12 bits of header octets 12 and 13. Higher bits,
    /// which are the data offset, are cleared.
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x0fff)
    }

    /// Returns the 12 bits.
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// Returns whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Returns only FIN, SYN, RST, PSH, ACK and URG.
    ///
    /// ECE, CWR and the reserved bits do not distinguish kinds of scan: a SYN that offers
    /// ECN is an ordinary SYN (RFC 3168 section 6.1.1).
    pub const fn without_ecn(self) -> Self {
        Self(self.0 & 0x3f)
    }
}

impl From<u16> for TcpFlags {
    /// Converts like [`from_bits`](Self::from_bits).
    fn from(bits: u16) -> Self {
        Self::from_bits(bits)
    }
}

impl From<TcpFlags> for u16 {
    /// Converts like [`bits`](TcpFlags::bits).
    fn from(flags: TcpFlags) -> Self {
        flags.bits()
    }
}

impl BitOr for TcpFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl TcpFlags {
    const NAMES: [(Self, &'static str); 8] = [
        (Self::FIN, "FIN"),
        (Self::SYN, "SYN"),
        (Self::RST, "RST"),
        (Self::PSH, "PSH"),
        (Self::ACK, "ACK"),
        (Self::URG, "URG"),
        (Self::ECE, "ECE"),
        (Self::CWR, "CWR"),
    ];

    /// Returns the names of the set bits, from the lowest. Reserved bits have no name.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| *name)
    }
}

/// Writes the names of the set bits, separated by spaces: `SYN ECE`.
impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for name in self.names() {
            write!(f, "{separator}{name}")?;
            separator = " ";
        }
        Ok(())
    }
}

impl fmt::Debug for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TcpFlags({self})")
    }
}
