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
            other => last_words(&format!("portsentry: {other}")),
        }
    }

    /// The exit code, after `sysexits.h` where it has one that fits.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Sensor(SensorError::MissingPrivilege { .. }) => 77,
            Self::Background(code) => *code,
            Self::Usage(_) => 2,
            Self::Configuration(_) => 78,
            Self::Sensor(_)
            | Self::Output(_)
            | Self::BlockedFile(_)
            | Self::History { .. }
            | Self::PidFile { .. }
            | Self::Memory { .. }
            | Self::System { .. } => 1,
        })
    }
}
