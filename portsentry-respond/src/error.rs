//! Errors of both sides.

use std::io;
use std::path::PathBuf;

use crate::store::BlockedFileError;

/// Why the responder cannot do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The configuration has errors, shown with their places.
    #[error("{0}")]
    Configuration(String),

    /// The process was not started by [`Client::start`](crate::Client::start).
    #[error("{variable} is set, which is for this program's own use: unset it")]
    NotStarted {
        /// The environment variable that says so.
        variable: &'static str,
    },

    /// The blocked file cannot be used.
    #[error(transparent)]
    BlockedFile(#[from] BlockedFileError),

    /// The pid file cannot be written.
    #[error("cannot write the pid file {}: {source}", path.display())]
    PidFile {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },

    /// The history file cannot be opened.
    #[error("cannot open the history file {}: {source}\nMake it writable for this user, or change HISTORY_FILE in the configuration.", path.display())]
    History {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },

    /// The system refused something that every responder needs.
    #[error("{what}: {source}")]
    System {
        /// The request.
        what: &'static str,
        /// Error of the system.
        source: io::Error,
    },
}

impl ServerError {
    /// For `map_err`: the system refused `what`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }

    /// The reason as it is sent to the packet process.
    pub(crate) fn to_load_error(&self) -> LoadError {
        match self {
            Self::Configuration(findings) => LoadError::Configuration(findings.clone()),
            other => LoadError::Other(other.to_string()),
        }
    }
}

/// Why the responder has refused to load a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The configuration has errors, shown with their places.
    #[error("{0}")]
    Configuration(String),
    /// Something that it names cannot be opened, or the responder cannot run.
    #[error("{0}")]
    Other(String),
}

/// Why a client has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The responder has refused.
    #[error(transparent)]
    Refused(#[from] LoadError),

    /// The responder has ended, and so have the rights that it had.
    #[error("the responder, which reads files, has ended: restart needed")]
    Ended,

    /// The system refused something.
    #[error("{what}: {source}")]
    System {
        /// The request.
        what: &'static str,
        /// Error of the system.
        source: io::Error,
    },
}
