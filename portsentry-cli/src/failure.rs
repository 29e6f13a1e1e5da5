//! Why the program ends before its time: one exit code and one message, which
//! says what to do next.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use portsentry_capture::SensorError;

use crate::report::last_words;
use crate::respond::BlockedFileError;

/// What stopped the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The configuration has errors; they have been shown.
    #[error("{0}")]
    Configuration(String),

    /// A word on the command line means nothing.
    #[error("{0}\nRun `portsentry --help` for the options.")]
    Usage(String),

    /// A sensor could not be opened or has broken.
    #[error(transparent)]
    Sensor(#[from] SensorError),

    /// What was asked for cannot be written out.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),

    /// The blocked file cannot be used.
    #[error(transparent)]
    BlockedFile(#[from] BlockedFileError),

    /// The pid file cannot be written.
    #[error("cannot write the pid file {}: {source}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// The program in the background has failed with this exit status, and has
    /// said why.
    #[error("the program in the background has failed")]
    Background(u8),

    /// The history file cannot be opened.
    #[error("cannot open the history file {}: {source}\nMake it writable for this user, or change HISTORY_FILE in the configuration.", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },

    /// There is not enough memory.
    #[error(
        "cannot reserve the {mebibytes} MiB of memory that it may come to need\nAllow it more: see `ulimit -v`."
    )]
    Memory {
        /// How much is wanted.
        mebibytes: usize,
    },

    /// The responder says why it cannot do what it was asked for.
    #[error("{why}")]
    Responder {
        /// The exit status that fits.
        status: u8,
        /// Its reason.
        why: String,
    },

    /// A right is missing that the configuration needs.
    #[error("{0}")]
    Privilege(String),

    /// The running program has given up what this takes.
    #[error("{0}: restart needed")]
    RestartNeeded(String),

    /// The system refused something that every program needs.
    #[error("{what}: {source}")]
    System {
        /// What was refused.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
}

impl Failure {
    /// For `map_err`: the system refused `what`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }

    /// Writes the message to standard error.
    pub(crate) fn show(&self) {
        match self {
            Self::Configuration(findings) => last_words(findings),
            Self::Background(_) => {}
            // As in the process that has found them.
            Self::Responder { status: 78, why } => last_words(why),
            other => last_words(&format!("portsentry: {other}")),
        }
    }

    /// The exit code, see [`status`](Self::status).
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }

    /// The exit status, after `sysexits.h` where it has one that fits.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Sensor(SensorError::MissingPrivilege { .. }) | Self::Privilege(_) => 77,
            Self::Background(code) | Self::Responder { status: code, .. } => *code,
            Self::Usage(_) => 2,
            Self::Configuration(_) => 78,
            Self::Sensor(_)
            | Self::Output(_)
            | Self::BlockedFile(_)
            | Self::History { .. }
            | Self::PidFile { .. }
            | Self::Memory { .. }
            | Self::RestartNeeded(_)
            | Self::System { .. } => 1,
        }
    }
}
