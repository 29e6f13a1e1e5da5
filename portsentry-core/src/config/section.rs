//! The sections of the reference.

use core::fmt;

/// A group of keys about one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Section {
    /// The watched ports.
    Watch,
    /// The probes that count.
    Detect,
    /// The responses to a probe.
    Respond,
    /// The log and the history.
    Report,
    /// The capture of packets.
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
