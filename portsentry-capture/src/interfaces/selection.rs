//! Which interfaces a person asked for.

use thiserror::Error;

use super::Interface;

/// Longest name of an interface in bytes: `IFNAMSIZ` without its NUL.
const MAX_NAME: usize = 15;

/// The interfaces to watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    /// `ALL`: every interface of the kernel.
    All,
    /// `ALL_NLO`: every interface but loopback.
    AllButLoopback,
    /// `any`: one capture over everything, as libpcap offers it.
    Any,
    /// These names, exactly; each once, never empty.
    Named(Vec<String>),
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
    Mixed {
        /// The word that stands for many interfaces.
        keyword: &'static str,
        /// What stands beside it.
        other: String,
    },
    /// A name that no interface can have.
    #[error("\"{name}\" cannot be the name of an interface: {reason}")]
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
        for (keyword, selection) in Self::KEYWORDS {
            if !distinct.contains(&keyword) {
                continue;
            }
            return match distinct.iter().find(|&&name| name != keyword) {
                Some(&other) => Err(SelectionError::Mixed { keyword, other: other.to_owned() }),
                None => Ok(selection),
            };
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

    const KEYWORDS: [(&'static str, Self); 3] =
        [("ALL", Self::All), ("ALL_NLO", Self::AllButLoopback), ("any", Self::Any)];

    /// Whether `interface` is to have a capture of its own.
    pub fn includes(&self, interface: &Interface) -> bool {
        match self {
            Self::All => true,
            Self::AllButLoopback => !interface.loopback,
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
        check(&["ALL"], Ok(Selection::All));
        check(&["ALL", "ALL"], Ok(Selection::All));
        check(&["ALL_NLO"], Ok(Selection::AllButLoopback));
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

    #[test]
    fn names_match_as_a_whole() {
        let check = |names: &[&str], interface: (&str, bool), expected: bool| {
            let (name, loopback) = interface;
            let interface = Interface {
                name: name.into(),
                index: 7,
                up: true,
                loopback,
                kind: None,
                addresses: Vec::new(),
            };
            let selection = Selection::parse(names).unwrap();
            assert_eq!(selection.includes(&interface), expected, "{names:?} {name}");
        };
        check(&["eth0"], ("eth0", false), true);
        check(&["eth0"], ("eth01", false), false);
        check(&["eth01"], ("eth0", false), false);
        check(&["lo", "eth0"], ("lo", true), true);
        check(&["ALL"], ("lo", true), true);
        check(&["ALL"], ("eth0", false), true);
        check(&["ALL_NLO"], ("lo", true), false);
        check(&["ALL_NLO"], ("eth0", false), true);
        check(&["any"], ("eth0", false), false);
    }
}
