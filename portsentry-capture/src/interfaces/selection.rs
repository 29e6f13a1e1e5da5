//! Which interfaces a person asked for.

use thiserror::Error;

use super::Interface;

/// Longest name of an interface in bytes: `IFNAMSIZ` without its NUL.
const MAX_NAME: usize = 15;

/// The interfaces to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// `ALL`, or `ALL_NLO` without loopback: every interface of the kernel but
    /// these.
    All(Exclusions),
    /// `any`: one capture over everything, as libpcap offers it.
    Any,
    /// These names, exactly; each once, never empty.
    Named(Vec<String>),
}

/// Interfaces that are left out of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exclusions {
    loopback: bool,
    /// Names, and beginnings of names with a `*` behind.
    patterns: Vec<String>,
}

impl Exclusions {
    fn contain(&self, interface: &Interface) -> bool {
        let named = |pattern: &String| match pattern.strip_suffix('*') {
            Some(beginning) => interface.name.starts_with(beginning),
            None => interface.name == *pattern,
        };
        self.loopback && interface.loopback || self.patterns.iter().any(named)
    }
}

/// Why a list of names is no [`Selection`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SelectionError {
    /// No name was given.
    #[error("no interface given")]
    Empty,
    /// `ALL`, `ALL_NLO` or `any` beside something else.
    #[error("interface {keyword} cannot be combined with {other}")]
    #[non_exhaustive]
    Mixed {
        /// The word that stands for many interfaces.
        keyword: &'static str,
        /// What stands beside it.
        other: String,
    },
    /// Something to exclude beside names, or beside `any`.
    #[error("interface {name} cannot be excluded: that is for ALL and ALL_NLO")]
    #[non_exhaustive]
    NothingToExcludeFrom {
        /// What was to be excluded.
        name: String,
    },
    /// A name that no interface can have.
    #[error("\"{name}\" cannot be the name of an interface: {reason}")]
    #[non_exhaustive]
    Impossible {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

impl Selection {
    /// From names as given on a command line. `ALL`, `ALL_NLO` and `any` are
    /// words of their own; a word or name that is repeated counts once.
    ///
    /// # Errors
    ///
    /// [`SelectionError`]. An empty list is one, because what it means differs
    /// from sensor to sensor.
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

    /// Leaves out the interfaces of these names; a `*` at the end of one stands
    /// for any further characters, or none.
    ///
    /// # Errors
    ///
    /// [`SelectionError`], if this is not all interfaces or a name cannot be that
    /// of an interface. A `*` alone is one: it would leave nothing.
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

    /// Whether `interface` is to have a capture of its own.
    pub fn includes(&self, interface: &Interface) -> bool {
        match self {
            Self::All(exclusions) => !exclusions.contain(interface),
            Self::Any => false,
            Self::Named(names) => names.contains(&interface.name),
        }
    }
}

/// As `dev_valid_name` of the kernel has it, and the colon of old aliases.
fn why_impossible(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        Some("it is empty")
    } else if name.len() > MAX_NAME {
        Some("it is longer than 15 bytes")
    } else if name == "." || name == ".." || name.contains('/') {
        Some("names are no paths")
    } else if name.contains(':') {
        Some("an alias is watched by the name of its interface, without the colon")
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
    fn words_and_names() {
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
            ("..", "names are no paths"),
            ("net/eth0", "names are no paths"),
            ("eth0:1", "an alias is watched by the name of its interface, without the colon"),
            ("eth 0", "it has blanks or control characters"),
            ("eth0\n", "it has blanks or control characters"),
        ] {
            let message = format!("\"{name}\" cannot be the name of an interface: {reason}");
            check(&["lo", name], Err(&message));
        }
    }

    fn interface(name: &str) -> Interface {
        Interface {
            name: name.to_owned(),
            index: 7,
            up: true,
            loopback: name == "lo",
            ethernet: true,
            kind: None,
            addresses: Vec::new(),
        }
    }

    #[test]
    fn names_match_as_a_whole() {
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
    fn exclusions_leave_out() {
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
    fn exclusions_that_mean_nothing() {
        let check = |names: &[&str], excluded: &[&str], expected: &str| {
            let error = Selection::parse(names).unwrap().excluding(excluded).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        let refused = "interface veth* cannot be excluded: that is for ALL and ALL_NLO";
        check(&["eth0"], &["veth*"], refused);
        check(&["any"], &["veth*"], refused);
        check(&["ALL"], &["eth0", "*"], "\"*\" cannot be the name of an interface: it is empty");
        let long = "\"sixteen-bytes-16*\" cannot be the name of an interface: \
                    it is longer than 15 bytes";
        check(&["ALL"], &["sixteen-bytes-16*"], long);
    }
}
