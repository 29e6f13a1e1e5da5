//! Sets from text, in the syntax of the configuration file.

use core::str::FromStr;

use super::Problem;
use super::diagnostic::Report;
use super::network::read_networks;
use super::ports::read_ports;
use super::span::{Fragment, Line};
use crate::{NetworkSet, PortSet};

/// Reads ports and inclusive ranges, separated by commas: `1,7,10-20`. An empty text is
/// an empty set.
///
/// ```
/// use portsentry_core::PortSet;
///
/// let ports: PortSet = "1, 7, 10-20".parse()?;
/// assert!(ports.contains(15));
/// let error = "1,70000".parse::<PortSet>().unwrap_err();
/// assert_eq!(error.to_string(), "`70000` is above 65535, the highest port");
/// # Ok::<(), portsentry_core::config::Problem>(())
/// ```
impl FromStr for PortSet {
    type Err = Problem;

    /// # Errors
    ///
    /// The first problem of the text.
    fn from_str(text: &str) -> Result<Self, Problem> {
        let is_empty = text.trim().is_empty();
        if is_empty { Ok(Self::new()) } else { read(text, read_ports) }
    }
}

/// Reads addresses and networks, separated by commas or blanks. An empty text is an
/// empty set. Bits after a prefix are ignored.
///
/// ```
/// use portsentry_core::NetworkSet;
///
/// let networks: NetworkSet = "192.0.2.0/24, 2001:db8::1".parse()?;
/// assert!(networks.contains("192.0.2.7".parse().unwrap()));
/// assert!("gateway".parse::<NetworkSet>().is_err());
/// # Ok::<(), portsentry_core::config::Problem>(())
/// ```
impl FromStr for NetworkSet {
    type Err = Problem;

    /// # Errors
    ///
    /// The first problem of the text.
    fn from_str(text: &str) -> Result<Self, Problem> {
        read(text, read_networks).map(|networks| networks.into_iter().collect())
    }
}

fn read<T>(text: &str, read: fn(Fragment<'_>, &mut Report) -> T) -> Result<T, Problem> {
    let mut report = Report::default();
    let value = read(Line::of_text(text).fragment(), &mut report);
    report.first_error().map_or(Ok(value), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn the_first_error_in_the_text_is_returned() {
        let ports = |text: &str| text.parse::<PortSet>().unwrap_err().to_string();
        assert_eq!(ports("1,"), "an item is missing; remove the extra comma");
        assert_eq!(ports("1,0,x"), "port 0 cannot be watched; ports are 1 to 65535");
        let networks = |text: &str| text.parse::<NetworkSet>().unwrap_err();
        assert!(matches!(networks("::1,,x"), Problem::EmptyItem));
        assert!(matches!(networks("10.0.0.1/8 10.1"), Problem::ShortAddress(_)));
    }

    #[test]
    fn texts_of_sets_read_back() {
        for set in [PortSet::new(), [1, 7, 8, 9, 65_535].into_iter().collect()] {
            assert_eq!(set.to_string().parse(), Ok(set));
        }
        let networks: NetworkSet = "10.0.0.1/8".parse().unwrap();
        assert!(networks.contains("10.9.9.9".parse().unwrap()));
        assert!(" ".parse::<NetworkSet>().unwrap().is_empty());
    }
}
