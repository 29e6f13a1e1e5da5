//! The problems of a configuration or an ignore file.

use alloc::string::String;
use core::time::Duration;

use ipnet::IpNet;
use thiserror::Error;

use super::Excerpt;
use super::units::InLongestUnit;

/// A problem of a configuration or an ignore file.
///
/// The message names the problem and the remedy, in one line that is safe to show on a
/// terminal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Problem {
    // The file and its lines.
    /// The file starts with the byte-order mark of UTF-16.
    #[error("the file is UTF-16; save it as UTF-8 or ASCII")]
    Utf16,
    /// Bytes that are not UTF-8.
    #[error("these bytes are not UTF-8; save the file as UTF-8 or ASCII")]
    NotUtf8,
    /// A control character in a value in which it is harmful.
    #[error("control character {}; remove it", .0.escape_unicode())]
    ControlCharacter(char),
    /// The number of findings above the limit.
    #[error("{errors} more errors and {warnings} more warnings are not shown")]
    #[non_exhaustive]
    More {
        /// Number of errors that were not kept.
        errors: usize,
        /// Number of warnings that were not kept.
        warnings: usize,
    },

    // `KEY = "value"`.
    /// A line that starts with the equals sign.
    #[error("a key is missing before `=`; write `KEY = \"value\"`")]
    MissingKey,
    /// A key, or other text, without an equals sign.
    #[error("`=` is missing after {key}; write `KEY = \"value\"`, or start a comment with `#`")]
    #[non_exhaustive]
    MissingEquals {
        /// First word of the line.
        key: Excerpt,
    },
    /// No quote after the equals sign.
    #[error("the value must be in double quotes: `KEY = \"value\"`")]
    MissingOpeningQuote,
    /// No second quote.
    #[error("the double quote is not closed; write `\"` after the value")]
    MissingClosingQuote,
    /// A quote that ends the value too early.
    #[error("a value cannot contain a double quote; use single quotes inside it")]
    QuoteInValue,
    /// Text after the value that is no comment.
    #[error("only a `# comment` may follow the closing quote")]
    TextAfterValue,
    /// A key that is not in [`KEYS`](super::KEYS).
    #[error("unknown key {0}")]
    UnknownKey(Excerpt),
    /// A key of portsentry 1.x that no longer exists.
    #[error("{key} is a key of portsentry 1.x; {instead}")]
    #[non_exhaustive]
    LegacyKey {
        /// The key.
        key: &'static str,
        /// The replacement.
        instead: &'static str,
    },
    /// A key that an earlier line sets. A warning: the later value counts.
    #[error("{key} is set again: this line overrides line {earlier}")]
    #[non_exhaustive]
    RepeatedKey {
        /// The key.
        key: &'static str,
        /// Number of the line that is overridden.
        earlier: usize,
    },

    // Values.
    /// An empty value of a key that needs one.
    #[error("the value is empty; write one, or remove the line to use the default")]
    EmptyValue,
    /// Neither 0 nor 1.
    #[error("{0} is neither `0` (no) nor `1` (yes)")]
    NotASwitch(Excerpt),
    /// None of 0, 1 and 2.
    #[error("{0} is none of `0` (log only), `1` (block) and `2` (run the command only)")]
    NotABlockMode(Excerpt),
    /// Other characters than digits.
    #[error("{0} is not a number; use digits only")]
    NotANumber(Excerpt),
    /// A number outside the range of the key.
    #[error("{number} is not between {min} and {max}{}", unit_suffix(.unit))]
    #[non_exhaustive]
    OutOfRange {
        /// The number, as written.
        number: Excerpt,
        /// The smallest valid number.
        min: u32,
        /// The largest valid number.
        max: u32,
        /// The unit; empty for a plain count.
        unit: &'static str,
    },
    /// A duration that does not start with a digit.
    #[error(
        "{0} is not a duration; write a number of seconds, or a number with a unit: `30`, `30s`, \
         `5min`, `2h` or `1d`"
    )]
    NotADuration(Excerpt),
    /// Other text than a unit after the number of a duration.
    #[error("{0} is not a unit of time; write `s`, `min`, `h` or `d`")]
    NotAUnit(Excerpt),
    /// A duration outside the range of the key.
    #[error("{duration} is not between {} and {}", InLongestUnit(*.min), InLongestUnit(*.max))]
    #[non_exhaustive]
    DurationOutOfRange {
        /// The duration, as written.
        duration: Excerpt,
        /// The shortest valid duration.
        min: Duration,
        /// The longest valid duration.
        max: Duration,
    },
    /// A comma without an item before or after it.
    #[error("an item is missing; remove the extra comma")]
    EmptyItem,
    /// An item of a port list that is neither a port nor a range.
    #[error("{0} is not a port; write ports and ranges, separated by commas: `1,7,10-20`")]
    NotAPort(Excerpt),
    /// The word `ALL` in other letters.
    #[error("{0} is not a port; write `ALL` in capitals for all ports")]
    AllInCapitals(Excerpt),
    /// The word `ALL` in a list.
    #[error("`ALL` is all ports; remove the other items, or remove `ALL` to watch only those")]
    AllWithOthers,
    /// Port 0.
    #[error("port 0 cannot be watched; ports are 1 to 65535")]
    PortZero,
    /// A port above 65535.
    #[error("{0} is above 65535, the highest port")]
    PortTooLarge(Excerpt),
    /// A range without a first or last port.
    #[error("the range {0} lacks an end; write both ends: `10-20`")]
    OpenRange(Excerpt),
    /// A range whose last port is below its first.
    #[error("the range runs backwards; write `{last}-{first}`")]
    #[non_exhaustive]
    BackwardRange {
        /// The end that is written first.
        first: u16,
        /// The end that is written last.
        last: u16,
    },
    /// A command or line without the address of the host.
    #[error("`$TARGET$` is missing; write it in place of the address of the host")]
    MissingTarget,
    /// Capitals between dollar signs that are no placeholder. A warning.
    #[error("{0} is not replaced: the placeholders are `$TARGET$`, `$PORT$` and `$MODE$`")]
    UnknownPlaceholder(Excerpt),
    /// Not a valid name of a user.
    #[error("{0} is not a user name; write a name or a number from /etc/passwd")]
    NotAUser(Excerpt),

    // Networks.
    /// Not an address.
    #[error(
        "{0} is not an address; write `192.0.2.1`, `192.0.2.0/24`, `2001:db8::1` or `2001:db8::/32`"
    )]
    NotAnAddress(Excerpt),
    /// A host name.
    #[error("{0} is a host name; write its address, because names are not resolved")]
    HostName(Excerpt),
    /// An IPv4 address of fewer than four numbers.
    #[error("{0} is shortened; write all four numbers of an IPv4 address")]
    ShortAddress(Excerpt),
    /// An IPv4 address with a number that some programs read as octal.
    #[error("{0} has a leading zero, which some programs read as octal; remove the zero")]
    LeadingZero(Excerpt),
    /// An IPv6 address with a zone (RFC 4007 section 11).
    #[error("{0} has a zone, which is not supported; remove `%` and the text after it")]
    Zone(Excerpt),
    /// Other text than a prefix length after the slash.
    #[error("{0} is not a prefix length; write the number of leading bits: `192.0.2.0/24`")]
    NotAPrefix(Excerpt),
    /// A prefix longer than the address.
    #[error("the prefix length {prefix} is above {max}, the number of bits of the address")]
    #[non_exhaustive]
    PrefixTooLong {
        /// The length, as written.
        prefix: Excerpt,
        /// 32 or 128.
        max: u8,
    },
    /// A dotted mask that is not ones before zeros (RFC 4632 section 5.1).
    #[error("{0} is not a netmask; write ones before zeros: `255.255.255.0`")]
    NotAMask(Excerpt),
    /// A dotted mask after an IPv6 address.
    #[error("an IPv6 network takes a prefix length, not a mask: `2001:db8::/32`")]
    MaskOnIpv6,
    /// An IPv4-mapped address with a prefix shorter than 96 bits.
    #[error(
        "the prefix length of an IPv4-mapped address is 96 to 128; write the IPv4 network instead"
    )]
    MappedPrefix,
    /// Bits that are set after the prefix. A warning.
    #[error("the address has bits after the prefix: using `{0}`")]
    HostBits(IpNet),
    /// A second item on a line of the ignore file.
    #[error(
        "only one address or network per line; move this to its own line, or add `#` before it"
    )]
    SeveralOnOneLine,

    // Several keys.
    /// No port to watch.
    #[error("no port is watched; set `TCP_PORTS` or `UDP_PORTS`")]
    NoPorts,
    /// The word `ALL` for a program that binds the ports.
    #[error("--connect binds each port, and cannot bind all of them; write `1-1023`")]
    AllNeedsCapture,
    /// Blocking without an action that blocks.
    #[error("`{key} = \"1\"` needs an action that blocks; set `KILL_ROUTE` or `KILL_HOSTS_DENY`")]
    #[non_exhaustive]
    NoWayToBlock {
        /// The key with this value.
        key: &'static str,
    },
    /// Running the command only, without a command.
    #[error("`{key} = \"2\"` needs a command; set `KILL_RUN_CMD`")]
    #[non_exhaustive]
    NoCommand {
        /// The key with this value.
        key: &'static str,
    },
    /// Several rings with a method of capture that supports only one.
    #[error("{rings} rings need the method raw; start with `-m raw`, or remove `CAPTURE_RINGS`")]
    #[non_exhaustive]
    RingsNeedRaw {
        /// The value of `CAPTURE_RINGS`.
        rings: u16,
    },
    /// Several rings with a program that supports only one. A warning.
    #[error(
        "using one ring instead of {rings}: this program was built without the feature `rings`"
    )]
    #[non_exhaustive]
    RingsNotBuilt {
        /// The value of `CAPTURE_RINGS`.
        rings: u16,
    },
}

fn unit_suffix(unit: &str) -> String {
    if unit.is_empty() { String::new() } else { alloc::format!(" {unit}") }
}
