//! Errors of both sides.

use std::io;
use std::path::PathBuf;

use crate::store::BlockedFileError;

/// Reason for which the responder cannot do a request, or cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// The configuration has errors, shown with their places.
    #[error("{0}")]
    Configuration(String),

    /// The process was not started by [`Client::start`](crate::Client::start).
    #[error(
        "the environment variable {variable} is set, which portsentry uses internally; unset it"
    )]
    NotStarted {
        /// The environment variable that is set.
        variable: &'static str,
    },

    /// The blocked file cannot be used.
    #[error(transparent)]
    BlockedFile(#[from] BlockedFileError),

    /// The pid file cannot be written.
    #[error("cannot write the pid file {}: {source}\nMake its directory writable for this user, or change --pidfile.", path.display())]
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
    /// Returns a function for `map_err`: the system refused `what`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }

    /// Returns the reason in the form that is sent to the packet process.
    pub(crate) fn to_load_error(&self) -> LoadError {
        match self {
            Self::Configuration(findings) => LoadError::Configuration(findings.clone()),
            other => LoadError::Other(other.to_string()),
        }
    }
}

/// Reason for which the responder has refused to load a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The configuration has errors, shown with their places.
    #[error("{0}")]
    Configuration(String),
    /// A file that it names cannot be opened, or the responder cannot run.
    #[error("{0}")]
    Other(String),
}

/// Reason for which a client has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The responder has refused.
    #[error(transparent)]
    Refused(#[from] LoadError),

    /// The responder has ended, and its rights with it.
    #[error("the responder process has ended; restart portsentry")]
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
