//! The sections of the reference.

use core::fmt;

/// A group of keys about one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Section {
    /// What is watched.
    Watch,
    /// Which probes count.
    Detect,
    /// What a probe causes.
    Respond,
    /// What is logged and recorded.
    Report,
    /// How packets are captured.
    Capture,
    /// The processes of the program.
    Process,
}

impl Section {
    /// All sections, in the order of the reference.
    pub const ALL: &'static [Self] =
        &[Self::Watch, Self::Detect, Self::Respond, Self::Report, Self::Capture, Self::Process];
}

/// Writes the heading.
impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Watch => "Watched ports",
            Self::Detect => "Detection",
            Self::Respond => "Responses",
            Self::Report => "Log and history",
            Self::Capture => "Capture",
            Self::Process => "Processes",
        })
    }
}
