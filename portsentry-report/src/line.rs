//! The log lines of portsentry 2, byte for byte.
//!
//! Strict parsers read these lines, so their form never changes. New facts go to new
//! lines or to another stream.

use core::fmt::{self, Display as _};
use core::net::IpAddr;

use portsentry_core::{Event, Probe, Reason};

/// The log line of an event, without time stamp and line end. The line of a probe is
/// identical to that of portsentry 2.
///
/// ```
/// use portsentry_core::{Event, Observation, TcpFlags};
/// use portsentry_report::EventLine;
///
/// let (source, target) = ("192.0.2.7:40000", "198.51.100.1:80");
/// let packet =
///     Observation::segment(source.parse().unwrap(), target.parse().unwrap(), TcpFlags::SYN);
/// let event = Event::served_port(&packet);
/// assert_eq!(
///     EventLine::new(&event).to_string(),
///     "Ignoring packet from 192.0.2.7 to destination port 80, a service is running"
/// );
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EventLine<'a> {
    event: &'a Event,
    name: Option<&'a str>,
}

impl<'a> EventLine<'a> {
    /// Returns the line of `event`, with the address of the source as its name.
    pub const fn new(event: &'a Event) -> Self {
        Self { event, name: None }
    }

    /// Sets the name of the source. The caller must validate a name from the DNS,
    /// because an attacker can choose it.
    pub const fn with_name(self, name: &'a str) -> Self {
        Self { name: Some(name), ..self }
    }
}

impl fmt::Display for EventLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Event::Probe(probe) => write_probe(f, probe, self.name),
            Event::ServedPort { source, port, .. } => write!(
                f,
                "Ignoring packet from {source} to destination port {port}, a service is running"
            ),
            Event::ServedPortSuppressed { packets, .. } => write!(
                f,
                "Suppressed {packets} lines about packets to ports with a running service in the last 60 seconds"
            ),
            Event::RateLimited { probes, limit, .. } => write!(
                f,
                "Did not respond to {probes} probes: more than {limit} responses per minute (BLOCK_RATE)"
            ),
            Event::Overloaded { probes, .. } => {
                write!(f, "Did not respond to {probes} probes: too many responses in progress")
            }
            // `Event` is non-exhaustive; this version has no line for other events.
            other => write!(f, "{other:?}"),
        }
    }
}

/// Writes the line piece by piece, in a third of the time of one `write!`, because a
/// flood consists of these lines.
fn write_probe(f: &mut fmt::Formatter<'_>, probe: &Probe, name: Option<&str>) -> fmt::Result {
    let Probe { observation, reason, .. } = probe;
    let flags = reason.flags();
    f.write_str("Scan from: [")?;
    write_address(f, observation.source)?;
    f.write_str("] (")?;
    write_name(f, observation.source, name)?;
    f.write_str(") protocol: [")?;
    observation.protocol().fmt(f)?;
    f.write_str("] port: [")?;
    Decimal::new(observation.target_port).fmt(f)?;
    f.write_str("] type: [")?;
    observation.kind().fmt(f)?;
    f.write_str("] IP opts: [")?;
    observation.ip_options.fmt(f)?;
    for (before, flag) in [
        ("] ignored: [", flags.ignored),
        ("] triggered: [", flags.triggered),
        ("] noblock: [", flags.noblock),
        ("] blocked: [", flags.blocked),
    ] {
        f.write_str(before)?;
        f.write_str(tristate(flag))?;
    }
    f.write_str("]")
}

/// Writes an address in the form of [`IpAddr`], ignoring width and alignment.
fn write_address(f: &mut fmt::Formatter<'_>, address: IpAddr) -> fmt::Result {
    let IpAddr::V4(address) = address else { return address.fmt(f) };
    let mut before = "";
    for octet in address.octets() {
        f.write_str(before)?;
        Decimal::new(octet.into()).fmt(f)?;
        before = ".";
    }
    Ok(())
}

/// The decimal digits of a number.
struct Decimal {
    digits: [u8; 5],
    start: usize,
}

impl Decimal {
    fn new(mut number: u16) -> Self {
        let mut it = Self { digits: [b'0'; 5], start: 5 };
        for (place, digit) in it.digits.iter_mut().enumerate().rev() {
            if number == 0 && place < 4 {
                break;
            }
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
            it.start = place;
        }
        it
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.digits.get(self.start..).unwrap_or_default();
        f.write_str(core::str::from_utf8(digits).unwrap_or_default())
    }
}

fn write_name(f: &mut fmt::Formatter<'_>, source: IpAddr, name: Option<&str>) -> fmt::Result {
    match name {
        Some(name) => f.write_str(name),
        None => write_address(f, source),
    }
}

const fn tristate(flag: Option<bool>) -> &'static str {
    match flag {
        Some(true) => "true",
        Some(false) => "false",
        None => "unset",
    }
}

/// A line that precedes the line of a probe and explains the decision.
#[derive(Clone, Copy, Debug)]
pub struct PreludeLine<'a> {
    probe: &'a Probe,
    name: Option<&'a str>,
    ignore_file: &'a str,
}

/// The importance of a line about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Importance {
    /// Always logged.
    Notice,
    /// Logged with verbose output.
    Verbose,
    /// Logged with debug output.
    Debug,
}

impl<'a> PreludeLine<'a> {
    /// Returns the line that precedes the line of `probe`, with its importance, or
    /// `None` if no line does. `name` and `ignore_file` are written unchanged.
    pub const fn of(
        probe: &'a Probe,
        name: Option<&'a str>,
        ignore_file: &'a str,
    ) -> Option<(Importance, Self)> {
        let importance = match probe.reason {
            Reason::IgnoreList => Importance::Verbose,
            Reason::SameAddress => Importance::Debug,
            Reason::AlreadyBlocked => Importance::Notice,
            _ => return None,
        };
        Some((importance, Self { probe, name, ignore_file }))
    }
}

impl fmt::Display for PreludeLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = self.probe.observation.source;
        match self.probe.reason {
            Reason::IgnoreList => {
                write!(
                    f,
                    "Host: {source} found in ignore file {}, aborting actions",
                    self.ignore_file
                )
            }
            Reason::SameAddress => write!(
                f,
                "Source address {source} same as destination address {}, skipping",
                self.probe.observation.target
            ),
            _ => {
                f.write_str("attackalert: Host: ")?;
                write_name(f, source, self.name)?;
                write!(f, "/{source} is already blocked Ignoring")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::string::ToString;

    use super::*;

    #[test]
    fn decimals_equal_those_of_the_standard_library() {
        for number in 0..=u16::MAX {
            assert_eq!(Decimal::new(number).to_string(), number.to_string());
        }
    }

    #[test]
    fn addresses_equal_those_of_the_standard_library() {
        struct Shown(IpAddr);
        impl fmt::Display for Shown {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_address(f, self.0)
            }
        }
        for text in
            ["0.0.0.0", "255.255.255.255", "10.9.0.100", "::", "2001:db8::7", "::ffff:1.2.3.4"]
        {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(Shown(address).to_string(), address.to_string());
        }
    }
}
