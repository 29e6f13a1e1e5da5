//! Notices: log messages that are about neither an event nor a response.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display};

use ipnet::IpNet;

use crate::level::Level;

/// A message for the administrator. `Display` writes the text, one line or several,
/// without the last line end. [`level`](Self::level) returns the importance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The program has started.
    Started {
        /// Version of the program.
        version: &'static str,
    },
    /// The program watches the ports.
    Listening,
    /// The program is about to exit.
    ShuttingDown,
    /// The networks that are never responded to have changed.
    NeverBlocking(Vec<IpNet>),
    /// A new configuration is in effect.
    Reloaded {
        /// Names of the keys with changed values, and of changed files.
        changed: Vec<&'static str>,
    },
    /// A new configuration was rejected.
    ReloadRefused {
        /// The reasons, in one line or several.
        why: String,
    },
    /// A key has a new value that takes effect at the next start.
    NextStart {
        /// Name of the key.
        key: &'static str,
    },
    /// A setting could not be applied.
    NotInForce {
        /// The reason.
        why: String,
    },
    /// Responses that did not finish before the program exited.
    UnfinishedResponses {
        /// Number of responses that were still queued.
        not_started: usize,
        /// Number of responses that were still running.
        not_finished: usize,
    },
    /// Packet threads that did not exit in time.
    UnresponsiveThreads {
        /// Number of threads.
        threads: usize,
    },
    /// The responder exited before the program.
    ResponderEnded {
        /// Exit status of the responder, or the error.
        how: String,
    },
    /// The history file was removed, and the program created a new one.
    HistoryCreated {
        /// Path of the file.
        path: String,
    },
    /// The history file was removed, and the program cannot create a new one.
    HistoryMissing {
        /// Path of the file.
        path: String,
        /// The reason.
        why: String,
    },
    /// The blocked file ended in the middle of a record.
    RecordTruncated {
        /// Path of the file.
        path: String,
        /// Length of the incomplete record, which was removed.
        bytes: u64,
    },
    /// Lines that were lost because the queue was full.
    LinesLost {
        /// Number of lines.
        lines: u64,
    },
    /// Lines that were lost because the system logger did not accept them.
    SyslogLost {
        /// Number of lines.
        lines: u64,
    },
    /// An output accepts no lines.
    OutputFailed {
        /// The output, such as `standard output`.
        output: String,
        /// The reason.
        why: String,
    },
    /// An output accepts lines again.
    OutputRestored {
        /// The output.
        output: String,
        /// Number of lines that were lost for this output.
        lost: u64,
    },
    /// Host names cannot be looked up.
    NamesUnavailable {
        /// The reason.
        why: String,
    },
    /// A message of a library, or of a part of the program without typed notices.
    Message {
        /// Its importance.
        level: Level,
        /// The text.
        text: String,
    },
}

impl Notice {
    /// Returns the importance of the notice.
    pub const fn level(&self) -> Level {
        match self {
            Self::Started { .. }
            | Self::Listening
            | Self::ShuttingDown
            | Self::NeverBlocking(_)
            | Self::Reloaded { .. } => Level::Notice,
            Self::NextStart { .. } | Self::HistoryCreated { .. } | Self::RecordTruncated { .. } => {
                Level::Warning
            }
            Self::Message { level, .. } => *level,
            Self::ReloadRefused { .. }
            | Self::NotInForce { .. }
            | Self::UnfinishedResponses { .. }
            | Self::UnresponsiveThreads { .. }
            | Self::ResponderEnded { .. }
            | Self::HistoryMissing { .. }
            | Self::LinesLost { .. }
            | Self::SyslogLost { .. }
            | Self::OutputFailed { .. }
            | Self::OutputRestored { .. }
            | Self::NamesUnavailable { .. } => Level::Error,
        }
    }
}

impl Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { version } => write!(f, "Portsentry {version}"),
            Self::Listening => f.write_str("Portsentry is now active and listening."),
            Self::ShuttingDown => f.write_str("Portsentry is shutting down"),
            Self::NeverBlocking(networks) => {
                f.write_str("Never blocking: ")?;
                write_list(f, networks, "no network")
            }
            Self::Reloaded { changed } => {
                f.write_str("Configuration reloaded; changed: ")?;
                write_list(f, changed, "nothing")
            }
            Self::ReloadRefused { why } => write!(
                f,
                "{}\nThe new configuration was rejected; the previous one remains in effect.",
                why.trim_end()
            ),
            Self::NextStart { key } => write!(f, "{key} takes effect at the next start"),
            Self::NotInForce { why } => f.write_str(why),
            Self::UnfinishedResponses { not_started, not_finished } => write!(
                f,
                "{not_started} responses were not started and {not_finished} did not finish in time"
            ),
            Self::UnresponsiveThreads { threads } => write!(
                f,
                "{threads} packet threads did not exit in time; the summary lacks their packets"
            ),
            Self::ResponderEnded { how } => write!(
                f,
                "The responder exited ({how}); restart portsentry, which can neither respond to \
                 hosts nor reload files without it"
            ),
            Self::HistoryCreated { path } => {
                write!(f, "history file {path} was removed; created a new one")
            }
            Self::HistoryMissing { path, why } => {
                write!(f, "history file {path} was removed, and a new one cannot be created: {why}")
            }
            Self::RecordTruncated { path, bytes } => {
                write!(f, "blocked file {path}: removed an incomplete last record of {bytes} bytes")
            }
            Self::LinesLost { lines } => {
                write!(
                    f,
                    "{lines} lines were lost because the log or the history accepts lines too slowly"
                )
            }
            Self::SyslogLost { lines } => {
                write!(f, "{lines} lines were lost because the system logger did not accept them")
            }
            Self::OutputFailed { output, why } => write!(f, "Cannot write to {output}: {why}"),
            Self::OutputRestored { output, lost } => {
                write!(f, "{output} works again; {lost} lines were lost")
            }
            Self::NamesUnavailable { why } => write!(f, "cannot look up names: {why}"),
            Self::Message { text, .. } => f.write_str(text),
        }
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, items: &[impl Display], if_empty: &str) -> fmt::Result {
    if items.is_empty() {
        return f.write_str(if_empty);
    }
    for (number, item) in items.iter().enumerate() {
        let before = if number > 0 { ", " } else { "" };
        write!(f, "{before}{item}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn lists_have_commas_or_a_text_for_an_empty_list() {
        let networks = ["192.0.2.0/24", "::1/128"].map(|network| network.parse().unwrap());
        let text = Notice::NeverBlocking(networks.into()).to_string();
        assert_eq!(text, "Never blocking: 192.0.2.0/24, ::1/128");
        assert_eq!(Notice::NeverBlocking(vec![]).to_string(), "Never blocking: no network");
        let reloaded = Notice::Reloaded { changed: vec![] };
        assert_eq!(reloaded.to_string(), "Configuration reloaded; changed: nothing");
    }

    #[test]
    fn a_rejection_has_a_line_for_each_reason_and_one_for_the_consequence() {
        let refused = Notice::ReloadRefused { why: "one\ntwo\n".into() }.to_string();
        let lines: Vec<&str> = refused.lines().collect();
        assert_eq!(lines[..2], ["one", "two"]);
        assert_eq!(lines.len(), 3);
    }
}
