//! How important a line is, and so where it goes.

use crate::line::Importance;

/// The importance of a line, the most important first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Something does not work.
    Error,
    /// Something may not be what one thinks it is.
    Warning,
    /// An ordinary line.
    Notice,
    /// For those who want to read more.
    Verbose,
    /// For those who look for a fault.
    Debug,
}

impl Level {
    /// The five of them, by [`number`](Self::number).
    const ALL: [Self; 5] = [Self::Error, Self::Warning, Self::Notice, Self::Verbose, Self::Debug];

    /// A number that stands for it, 0 for the most important.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// The one that `number` stands for.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The severity of RFC 5424 section 6.2.1: 3 is an error, 7 is debug.
    pub const fn severity(self) -> u8 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Notice => 5,
            Self::Verbose => 6,
            Self::Debug => 7,
        }
    }
}

impl From<Importance> for Level {
    fn from(importance: Importance) -> Self {
        match importance {
            Importance::Notice => Self::Notice,
            Importance::Verbose => Self::Verbose,
            Importance::Debug => Self::Debug,
        }
    }
}
