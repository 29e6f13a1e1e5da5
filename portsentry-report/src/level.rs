//! The importance of a line, which selects its outputs.

use crate::line::Importance;

/// The importance of a line, from the most to the least important.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A failure: some function of the program does not work.
    Error,
    /// A state that the administrator may not expect.
    Warning,
    /// Normal operation.
    Notice,
    /// Details for verbose output.
    Verbose,
    /// Details for finding a fault.
    Debug,
}

impl Level {
    /// All levels, in the order of [`number`](Self::number).
    const ALL: [Self; 5] = [Self::Error, Self::Warning, Self::Notice, Self::Verbose, Self::Debug];

    /// Returns the number of the level, 0 for the most important.
    pub const fn number(self) -> u8 {
        self as u8
    }

    /// Returns the level with this [`number`](Self::number).
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Returns the severity of RFC 5424 section 6.2.1, from 3 (error) to 7 (debug).
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
