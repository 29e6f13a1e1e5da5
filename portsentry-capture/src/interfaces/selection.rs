//! The interfaces that the administrator selects.

use thiserror::Error;

use super::Interface;

/// Maximum length of an interface name in bytes: `IFNAMSIZ` without its NUL.
const MAX_NAME: usize = 15;

/// The interfaces to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// `ALL`, or `ALL_NLO` without loopback: all interfaces of the kernel except for these.
    All(Exclusions),
    /// `any`: one capture of libpcap on all interfaces.
    Any,
    /// Exactly these names; each once, and at least one.
    Named(Vec<String>),
}

/// Interfaces that are excluded from [`Selection::All`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    loopback: bool,
    /// Names, and prefixes of names with a `*` at the end.
    patterns: Vec<String>,
}

impl Exclusions {
    fn contain(&self, interface: &Interface) -> bool {
        let named = |pattern: &String| match pattern.strip_suffix('*') {
            Some(prefix) => interface.name.starts_with(prefix),
            None => interface.name == *pattern,
        };
        self.loopback && interface.loopback || self.patterns.iter().any(named)
    }
}

/// Reason why a list of names is not a valid [`Selection`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// No name was given.
    #[error("no interface given")]
    Empty,
    /// `ALL`, `ALL_NLO` or `any` was combined with another name.
    #[error("interface {keyword} cannot be combined with {other}")]
    #[non_exhaustive]
    Mixed {
        /// The keyword for many interfaces.
        keyword: &'static str,
        /// The other name.
        other: String,
    },
    /// An exclusion was combined with names, or with `any`.
    #[error("interface {name} cannot be excluded: only ALL and ALL_NLO have exclusions")]
    #[non_exhaustive]
    NothingToExcludeFrom {
        /// The name to exclude.
        name: String,
    },
    /// No interface can have the name.
    #[error("\"{name}\" cannot be the name of an interface: {reason}")]
    #[non_exhaustive]
    Impossible {
        /// The name.
        name: String,
        /// Reason why the name is invalid.
        reason: &'static str,
    },
}

impl Selection {
    /// Parses names as given on a command line. `ALL`, `ALL_NLO` and `any` are keywords. A
    /// repeated keyword or name counts once.
    ///
    /// # Errors
    ///
    /// [`SelectionError`]. An empty list is an error, because each kind of sensor would interpret
    /// it in another way.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, SelectionError> {
        let mut distinct: Vec<&str> = Vec::new();
        for name in names.iter().map(AsRef::as_ref) {
            if !distinct.contains(&name) {
                distinct.push(name);
            }
        }
        for keyword in Self::KEYWORDS {
            if !distinct.contains(&keyword) {
                continue;
            }
            if let Some(&other) = distinct.iter().find(|&&name| name != keyword) {
                return Err(SelectionError::Mixed { keyword, other: other.to_owned() });
            }
            let loopback = keyword == "ALL_NLO";
            return Ok(match keyword {
                "any" => Self::Any,
                _ => Self::All(Exclusions { loopback, patterns: Vec::new() }),
            });
        }
        if distinct.is_empty() {
            return Err(SelectionError::Empty);
        }
        for &name in &distinct {
            if let Some(reason) = why_impossible(name) {
                return Err(SelectionError::Impossible { name: name.to_owned(), reason });
            }
        }
        Ok(Self::Named(distinct.into_iter().map(str::to_owned).collect()))
    }

    const KEYWORDS: [&'static str; 3] = ["ALL", "ALL_NLO", "any"];

    /// Excludes the interfaces with these names. A `*` at the end of a name matches any further
    /// characters, or none.
    ///
    /// # Errors
    ///
    /// [`SelectionError`] if this does not select all interfaces, or if no interface can have a
    /// name. A `*` alone is an error too, because it would exclude all interfaces.
    pub fn excluding<S: AsRef<str>>(mut self, names: &[S]) -> Result<Self, SelectionError> {
        for name in names.iter().map(|name| name.as_ref().to_owned()) {
            if let Some(reason) = why_impossible(name.strip_suffix('*').unwrap_or(&name)) {
                return Err(SelectionError::Impossible { name, reason });
            }
            match &mut self {
                Self::All(exclusions) => exclusions.patterns.push(name),
                _ => return Err(SelectionError::NothingToExcludeFrom { name }),
            }
        }
        Ok(self)
    }

    /// Returns whether `interface` gets a separate capture.
    pub fn includes(&self, interface: &Interface) -> bool {
        match self {
            Self::All(exclusions) => !exclusions.contain(interface),
            Self::Any => false,
            Self::Named(names) => names.contains(&interface.name),
        }
    }
}

/// Returns why the name is invalid: the rules of `dev_valid_name` of the kernel, and no colon,
/// which old aliases have.
fn why_impossible(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > MAX_NAME {
        Some("it is longer than 15 bytes")
    } else if name == "." || name == ".." || name.contains('/') {
        Some("it is a path")
    } else if name.contains(':') {
        Some("it is an alias; use the name of its interface, without the colon")
    } else if name.contains(|c: char| c.is_ascii_whitespace() || c.is_ascii_control()) {
        Some("it has blanks or control characters")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_and_names_are_parsed() {
        let check = |names: &[&str], expected: Result<Selection, &str>| {
            let found = Selection::parse(names).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{names:?}");
        };
        let named = |names: &[&str]| {
            Ok(Selection::Named(names.iter().map(|&name| name.to_owned()).collect()))
        };
        let all = |loopback| Ok(Selection::All(Exclusions { loopback, patterns: vec![] }));
        check(&["ALL"], all(false));
        check(&["ALL", "ALL"], all(false));
        check(&["ALL_NLO"], all(true));
        check(&["any"], Ok(Selection::Any));
        check(&["eth0"], named(&["eth0"]));
        check(&["eth1", "eth0", "eth1"], named(&["eth1", "eth0"]));
        check(&["all"], named(&["all"]));
        check(&["ANY"], named(&["ANY"]));
        check(&["fifteen-bytes-1"], named(&["fifteen-bytes-1"]));
        check(&["eth0.100"], named(&["eth0.100"]));
        check(&[], Err("no interface given"));
        check(&["ALL", "eth0"], Err("interface ALL cannot be combined with eth0"));
        check(&["eth0", "ALL_NLO"], Err("interface ALL_NLO cannot be combined with eth0"));
        check(&["ALL_NLO", "ALL"], Err("interface ALL cannot be combined with ALL_NLO"));
        check(&["any", "lo"], Err("interface any cannot be combined with lo"));
        for (name, reason) in [
            ("", "it is empty"),
            ("sixteen-bytes-16", "it is longer than 15 bytes"),
            ("ünïcödé-nämé", "it is longer than 15 bytes"),
            ("..", "it is a path"),
            ("net/eth0", "it is a path"),
            ("eth0:1", "it is an alias; use the name of its interface, without the colon"),
            ("eth 0", "it has blanks or control characters"),
            ("eth0\n", "it has blanks or control characters"),
        ] {
            let message = format!("\"{name}\" cannot be the name of an interface: {reason}");
            check(&["lo", name], Err(&message));
        }
    }

    fn interface(name: &str) -> Interface {
        Interface { loopback: name == "lo", ..Interface::new(name, 7) }
    }

    #[test]
    fn names_match_completely() {
        let check = |names: &[&str], name: &str, expected: bool| {
            let selection = Selection::parse(names).unwrap();
            assert_eq!(selection.includes(&interface(name)), expected, "{names:?} {name}");
        };
        check(&["eth0"], "eth0", true);
        check(&["eth0"], "eth01", false);
        check(&["eth01"], "eth0", false);
        check(&["lo", "eth0"], "lo", true);
        check(&["ALL"], "lo", true);
        check(&["ALL"], "eth0", true);
        check(&["ALL_NLO"], "lo", false);
        check(&["ALL_NLO"], "eth0", true);
        check(&["any"], "eth0", false);
    }

    #[test]
    fn exclusions_match_names_and_prefixes() {
        let check = |word: &str, excluded: &[&str], expected: &[&str]| {
            let selection = Selection::parse(&[word]).unwrap().excluding(excluded).unwrap();
            let mut names = vec!["lo", "eth0", "eth01", "veth7", "docker0"];
            names.retain(|name| selection.includes(&interface(name)));
            assert_eq!(names, expected, "{word} without {excluded:?}");
        };
        check("ALL", &[], &["lo", "eth0", "eth01", "veth7", "docker0"]);
        check("ALL", &["eth0"], &["lo", "eth01", "veth7", "docker0"]);
        check("ALL", &["eth0*"], &["lo", "veth7", "docker0"]);
        check("ALL_NLO", &["veth*", "docker0"], &["eth0", "eth01"]);
        check("ALL", &["lo", "nosuch0", "lo"], &["eth0", "eth01", "veth7", "docker0"]);
        check("ALL", &["*eth7"], &["lo", "eth0", "eth01", "veth7", "docker0"]);
    }

    #[test]
    fn invalid_exclusions_are_errors() {
        let check = |names: &[&str], excluded: &[&str], expected: &str| {
            let error = Selection::parse(names).unwrap().excluding(excluded).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        let refused = "interface veth* cannot be excluded: only ALL and ALL_NLO have exclusions";
        check(&["eth0"], &["veth*"], refused);
        check(&["any"], &["veth*"], refused);
        check(&["ALL"], &["eth0", "*"], "\"*\" cannot be the name of an interface: it is empty");
        let long = "\"sixteen-bytes-16*\" cannot be the name of an interface: \
                    it is longer than 15 bytes";
        check(&["ALL"], &["sixteen-bytes-16*"], long);
    }
}
