//! What can be wrong in a configuration or an ignore file.

use alloc::string::String;

use ipnet::IpNet;
use thiserror::Error;

use super::Excerpt;

/// What can be wrong in a configuration or an ignore file.
///
/// The message says what is wrong and what to write instead, in one line of
/// text that is safe to show on a terminal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    // The file and its lines.
    /// The file begins with the byte-order mark of UTF-16.
    #[error("the file is UTF-16; save it as UTF-8 or plain ASCII")]
    Utf16,
    /// Bytes that are not UTF-8.
    #[error("these bytes are not UTF-8; save the file as UTF-8 or plain ASCII")]
    NotUtf8,
    /// A control character where it does harm.
    #[error("control character {}; take it out", .0.escape_unicode())]
    ControlCharacter(char),
    /// More of the same than is kept.
    #[error("{errors} more errors and {warnings} more warnings are not shown")]
    More {
        /// The errors not kept.
        errors: usize,
        /// The warnings not kept.
        warnings: usize,
    },

    // `KEY = "value"`.
    /// A line that begins with the equals sign.
    #[error("a key is missing before `=`; write `KEY = \"value\"`")]
    MissingKey,
    /// A key, or what stands in its place, without an equals sign behind it.
    #[error("`=` is missing after {key}; write `KEY = \"value\"`, or `#` before a comment")]
    MissingEquals {
        /// What the line begins with.
        key: Excerpt,
    },
    /// No quote behind the equals sign.
    #[error("the value must stand in double quotes: `KEY = \"value\"`")]
    MissingOpeningQuote,
    /// No second quote.
    #[error("the double quote that begins here is not closed; put `\"` behind the value")]
    MissingClosingQuote,
    /// A quote that ends the value too early.
    #[error("a value cannot hold a double quote; use single quotes inside it")]
    QuoteInValue,
    /// Neither blanks nor a comment behind the value.
    #[error("nothing but a `# comment` may follow the closing quote")]
    TextAfterValue,
    /// Not one of [`KEYS`](super::KEYS).
    #[error("unknown key {0}")]
    UnknownKey(Excerpt),
    /// A key of portsentry 1.x that is no more.
    #[error("{key} is a key of portsentry 1.x; {instead}")]
    LegacyKey {
        /// The key.
        key: &'static str,
        /// What to write today.
        instead: &'static str,
    },
    /// A key for the second time. A warning: the later value counts.
    #[error("{key} is set again: this line counts, line {earlier} does not")]
    RepeatedKey {
        /// The key.
        key: &'static str,
        /// The line whose value is lost.
        earlier: usize,
    },

    // Values.
    /// A value of nothing, for a key where that means nothing.
    #[error("the value is empty; write one, or take the line out to get the default")]
    EmptyValue,
    /// Neither 0 nor 1.
    #[error("{0} is neither `0` (no) nor `1` (yes)")]
    NotASwitch(Excerpt),
    /// None of 0, 1 and 2.
    #[error("{0} is none of `0` (log only), `1` (block) and `2` (run the command only)")]
    NotABlockMode(Excerpt),
    /// Something else than digits.
    #[error("{0} is not a number; write digits alone")]
    NotANumber(Excerpt),
    /// A number that is too small or too large for the key.
    #[error("{number} is not between {min} and {max}{}", unit_suffix(.unit))]
    OutOfRange {
        /// The number as written.
        number: Excerpt,
        /// The smallest that can be.
        min: u32,
        /// The largest that can be.
        max: u32,
        /// What it counts; empty if it is a mere count.
        unit: &'static str,
    },
    /// A comma with nothing before or behind it.
    #[error("an item is missing; take out the comma too many")]
    EmptyItem,
    /// An item of a port list that is neither a port nor a range.
    #[error("{0} is not a port; write ports and ranges between commas: `1,7,10-20`")]
    NotAPort(Excerpt),
    /// Port 0.
    #[error("port 0 cannot be watched; ports are 1 to 65535")]
    PortZero,
    /// A port above 65535.
    #[error("{0} is above 65535, the last port")]
    PortTooLarge(Excerpt),
    /// A range without a first or last port.
    #[error("the range {0} lacks an end; write both ends: `10-20`")]
    OpenRange(Excerpt),
    /// A range whose last port is below its first.
    #[error("the range runs backwards; write `{last}-{first}`")]
    BackwardRange {
        /// The end written first.
        first: u16,
        /// The end written last.
        last: u16,
    },
    /// A command or line that acts on no host in particular.
    #[error("`$TARGET$` is missing; write it where the host's address belongs")]
    MissingTarget,
    /// Capitals between dollar signs that are not replaced. A warning.
    #[error("{0} is not replaced: the placeholders are `$TARGET$`, `$PORT$` and `$MODE$`")]
    UnknownPlaceholder(Excerpt),
    /// Not a name that a user can have.
    #[error("{0} is not a user name; write a name or a number from /etc/passwd")]
    NotAUser(Excerpt),

    // Networks.
    /// Not an address at all.
    #[error(
        "{0} is not an address; write `192.0.2.1`, `192.0.2.0/24`, `2001:db8::1` or `2001:db8::/32`"
    )]
    NotAnAddress(Excerpt),
    /// A name.
    #[error("{0} is a host name; write its address, names are not looked up")]
    HostName(Excerpt),
    /// An IPv4 address of fewer than four numbers.
    #[error("{0} is shortened; write all four numbers of an IPv4 address")]
    ShortAddress(Excerpt),
    /// An IPv4 address with a number that some programs take for octal.
    #[error(
        "{0} has a leading zero, which some programs read as octal; write decimal numbers without one"
    )]
    LeadingZero(Excerpt),
    /// An IPv6 address with a zone (RFC 4007 section 11).
    #[error(
        "{0} has a zone, which is not looked at; write the address without `%` and what follows it"
    )]
    Zone(Excerpt),
    /// Not a number behind the slash.
    #[error("{0} is not a prefix length; write the number of leading bits: `192.0.2.0/24`")]
    NotAPrefix(Excerpt),
    /// A prefix longer than the address.
    #[error("the prefix length {prefix} is above {max}, the number of bits of the address")]
    PrefixTooLong {
        /// As written.
        prefix: Excerpt,
        /// 32 or 128.
        max: u8,
    },
    /// A dotted mask that is not ones before zeros (RFC 4632 section 5.1).
    #[error("{0} is not a netmask; write ones before zeros: `255.255.255.0`")]
    NotAMask(Excerpt),
    /// A dotted mask behind an IPv6 address.
    #[error("an IPv6 network takes a prefix length, not a mask: `2001:db8::/32`")]
    MaskOnIpv6,
    /// An IPv4-mapped address with a prefix that reaches beyond IPv4.
    #[error(
        "the prefix of an IPv4-mapped address is 96 to 128; better write the IPv4 network itself"
    )]
    MappedPrefix,
    /// Bits set behind the prefix. A warning.
    #[error("the address has bits behind the prefix: taken as `{0}`")]
    HostBits(IpNet),
    /// A second item on a line of the ignore file.
    #[error("one address or network a line; write this on a line of its own, or `#` before it")]
    SeveralOnOneLine,

    // One key against another.
    /// Nothing to watch.
    #[error("no port is watched; set `TCP_PORTS` or `UDP_PORTS`")]
    NoPorts,
    /// Blocking without a way to block.
    #[error("`{key} = \"1\"` blocks and there is no way to: set `KILL_ROUTE` or `KILL_HOSTS_DENY`")]
    NoWayToBlock {
        /// The key that asks for it.
        key: &'static str,
    },
    /// The command alone, and none given.
    #[error("`{key} = \"2\"` runs a command and there is none: set `KILL_RUN_CMD`")]
    NoCommand {
        /// The key that asks for it.
        key: &'static str,
    },
}

fn unit_suffix(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { alloc::format!(" {unit}") }
}
