//! Kinds of scan, recognised from a single packet.

use core::fmt;

use crate::TcpFlags;

/// The kind of scan that one attempt matches.
///
/// `Display` writes the text of the `type:` field in the classic line, byte for byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum ScanKind {
    /// TCP or UDP, seen by a bound socket.
    Connect,
    /// A UDP datagram.
    Udp,
    /// A TCP segment without any flag (`nmap -sN`).
    Null,
    /// FIN, PSH and URG, with any other flags (`nmap -sX`).
    Xmas,
    /// FIN alone (`nmap -sF`).
    Fin,
    /// SYN alone: a client that connects, or `nmap -sS`.
    Syn,
    /// Any other combination, with ECE, CWR and the reserved bits cleared.
    Other(TcpFlags),
}

impl ScanKind {
    /// Returns the kind of a TCP segment with these flags. ECE, CWR and the reserved bits
    /// must be cleared.
    pub(crate) const fn of_flags(flags: TcpFlags) -> Self {
        const XMAS: TcpFlags = TcpFlags::from_bits(0x29);
        match flags.bits() {
            0x00 => Self::Null,
            bits if bits & XMAS.bits() == XMAS.bits() => Self::Xmas,
            0x01 => Self::Fin,
            0x02 => Self::Syn,
            _ => Self::Other(flags),
        }
    }
}

impl fmt::Display for ScanKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = match self {
            Self::Connect => return f.write_str("Connect"),
            Self::Udp => return f.write_str("UDP"),
            Self::Null => return f.write_str("TCP NULL scan"),
            Self::Xmas => return f.write_str("TCP XMAS scan"),
            Self::Fin => return f.write_str("TCP FIN scan"),
            Self::Syn => return f.write_str("TCP SYN/Normal scan"),
            Self::Other(flags) => flags,
        };
        let bit = |flag| u8::from(flags.contains(flag));
        write!(
            f,
            "Unknown Type: TCP Packet Flags: SYN: {} FIN: {} ACK: {} PSH: {} URG: {} RST: {}",
            bit(TcpFlags::SYN),
            bit(TcpFlags::FIN),
            bit(TcpFlags::ACK),
            bit(TcpFlags::PSH),
            bit(TcpFlags::URG),
            bit(TcpFlags::RST),
        )
    }
}
