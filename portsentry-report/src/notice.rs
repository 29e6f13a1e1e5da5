//! Notices: everything in the log that is neither an event nor about a response.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Display};

use ipnet::IpNet;

use crate::level::Level;

/// Something that an administrator should know. `Display` gives the text, one line or
/// several, without the last line end; [`level`](Self::level) its importance.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The program has started.
    Started {
        /// Its version.
        version: &'static str,
    },
    /// The program watches from now on.
    Listening,
    /// The program is about to end.
    ShuttingDown,
    /// The networks that are never responded to have changed.
    NeverBlocking(Vec<IpNet>),
    /// A new configuration is in force.
    Reloaded {
        /// Names of the keys with other values, and of files.
        changed: Vec<&'static str>,
    },
    /// A new configuration was refused.
    ReloadRefused {
        /// The reasons, one or several lines.
        why: String,
    },
    /// A key has a new value that the running program does not use.
    NextStart {
        /// Name of the key.
        key: &'static str,
    },
    /// A setting could not be put in force.
    NotInForce {
        /// The reason.
        why: String,
    },
    /// Responses that did not finish before the end.
    UnfinishedResponses {
        /// Number of those that were still queued.
        not_started: usize,
        /// Number of those that still ran.
        not_finished: usize,
    },
    /// Packet threads that did not end in time.
    UnresponsiveThreads {
        /// Number of threads.
        threads: usize,
    },
    /// The responder has ended before the program.
    ResponderEnded {
        /// Its exit status, or the error.
        how: String,
    },
    /// The history file was removed, and created again.
    HistoryCreated {
        /// Path of the file.
        path: String,
    },
    /// The history file was removed, and cannot be created again.
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
        /// Bytes of the unfinished record, which was removed.
        bytes: u64,
    },
    /// Lines that found the queue full.
    LinesLost {
        /// Number of lines.
        lines: u64,
    },
    /// Lines that the system's logger did not accept.
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
        /// Number of lines that it has not got.
        lost: u64,
    },
    /// Host names cannot be looked up.
    NamesUnavailable {
        /// The reason.
        why: String,
    },
    /// A message of a library, or of a part of the program that has no notices.
    Message {
        /// Its importance.
        level: Level,
        /// The text.
        text: String,
    },
}

impl Notice {
    /// The importance of the notice.
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
                write_list(f, networks, "nobody")
            }
            Self::Reloaded { changed } => {
                f.write_str("Configuration read again; changed: ")?;
                write_list(f, changed, "nothing")
            }
            Self::ReloadRefused { why } => write!(
                f,
                "{}\nThe new configuration was refused; the old one stays in force.",
                why.trim_end()
            ),
            Self::NextStart { key } => write!(f, "{key} takes effect at the next start"),
            Self::NotInForce { why } => f.write_str(why),
            Self::UnfinishedResponses { not_started, not_finished } => write!(
                f,
                "{not_started} responses were not started and {not_finished} did not end in time"
            ),
            Self::UnresponsiveThreads { threads } => write!(
                f,
                "{threads} packet threads did not end in time: the summary lacks their packets"
            ),
            Self::ResponderEnded { how } => write!(
                f,
                "The responder has ended ({how}): no host is responded to and no file is read \
                 again until portsentry is restarted"
            ),
            Self::HistoryCreated { path } => {
                write!(f, "history file {path} was removed; created a new one")
            }
            Self::HistoryMissing { path, why } => {
                write!(f, "history file {path} was removed, and cannot be created again: {why}")
            }
            Self::RecordTruncated { path, bytes } => {
                write!(f, "blocked file {path}: cut off {bytes} bytes of an unfinished last record")
            }
            Self::LinesLost { lines } => {
                write!(f, "{lines} lines were lost: the log or history could not keep up")
            }
            Self::SyslogLost { lines } => {
                write!(f, "{lines} lines were lost: the system's logger did not take them")
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
    fn lists_are_written_with_commas_or_a_word_for_none() {
        let networks = ["192.0.2.0/24", "::1/128"].map(|network| network.parse().unwrap());
        let text = Notice::NeverBlocking(networks.into()).to_string();
        assert_eq!(text, "Never blocking: 192.0.2.0/24, ::1/128");
        assert_eq!(Notice::NeverBlocking(vec![]).to_string(), "Never blocking: nobody");
        let reloaded = Notice::Reloaded { changed: vec![] };
        assert_eq!(reloaded.to_string(), "Configuration read again; changed: nothing");
    }

    #[test]
    fn a_refusal_has_a_line_for_each_reason_and_one_for_the_consequence() {
        let refused = Notice::ReloadRefused { why: "one\ntwo\n".into() }.to_string();
        let lines: Vec<&str> = refused.lines().collect();
        assert_eq!(lines[..2], ["one", "two"]);
        assert_eq!(lines.len(), 3);
    }
}
