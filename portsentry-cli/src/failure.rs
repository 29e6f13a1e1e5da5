//! Errors that stop the program: each has an exit status and a message with the next step.

use std::io;
use std::process::ExitCode;

use portsentry_capture::SensorError;
use portsentry_respond::{ClientError, LoadError, ServerError};
use portsentry_sandbox::UserError;

use portsentry_output::print_final;

/// An error that stops the program.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Failure {
    /// The configuration has errors; they have been shown.
    #[error("{0}")]
    Configuration(String),

    /// An argument on the command line is not valid.
    #[error("{0}\nRun `portsentry --help` for the options.")]
    Usage(String),

    /// A sensor could not be opened or has failed.
    #[error(transparent)]
    Sensor(#[from] SensorError),

    /// The result could not be written to standard output.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),

    /// The background process has failed with this exit status, and has printed the reason.
    #[error("the background process has failed")]
    Background(u8),

    /// There is not enough memory.
    #[error(
        "cannot reserve {mebibytes} MiB of memory, the most that portsentry can need\nRaise the memory limit, see `ulimit -v`."
    )]
    Memory {
        /// Size of the memory that is needed.
        mebibytes: usize,
    },

    /// The responder has refused a request.
    #[error("{0}")]
    Refused(String),

    /// The responder itself has failed.
    #[error(transparent)]
    Responder(ServerError),

    /// The process lacks a right that the configuration needs.
    #[error("{0}")]
    Privilege(String),

    /// The running program has given up the rights that this change needs.
    #[error("{0}: restart needed")]
    RestartNeeded(String),

    /// The system refused something that every program needs.
    #[error("{what}: {source}")]
    System {
        /// The request.
        what: &'static str,
        /// Error of the system.
        source: io::Error,
    },
}

impl Failure {
    /// Returns a function for `map_err`: the system refused `what`.
    pub(crate) fn system<E: Into<io::Error>>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |source| Self::System { what, source: source.into() }
    }

    /// Writes the message to standard error.
    pub(crate) fn show(&self) {
        match self {
            Self::Configuration(findings) => print_final(findings),
            Self::Background(_) => {}
            other => print_final(&format!("portsentry: {other}")),
        }
    }

    /// Returns the exit code, see [`status`](Self::status).
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }

    /// Returns the exit status, from `sysexits.h` where it defines one.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Sensor(SensorError::MissingPrivilege { .. }) | Self::Privilege(_) => 77,
            Self::Background(code) => *code,
            Self::Usage(_) => 2,
            Self::Configuration(_) => 78,
            Self::Sensor(_)
            | Self::Output(_)
            | Self::Refused(_)
            | Self::Responder(_)
            | Self::Memory { .. }
            | Self::RestartNeeded(_)
            | Self::System { .. } => 1,
        }
    }
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Configuration(findings) => Self::Configuration(findings),
            ServerError::NotStarted { .. } => Self::Usage(error.to_string()),
            other => Self::Responder(other),
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused(LoadError::Configuration(findings)) => {
                Self::Configuration(findings)
            }
            ClientError::System { what, source } => Self::System { what, source },
            other => Self::Refused(other.to_string()),
        }
    }
}

impl From<UserError> for Failure {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Unknown(name) => Self::Configuration(format!(
                "error: RUN_AS: there is no user `{name}`; create it with `useradd --system`, or \
                 name another\n"
            )),
            UserError::Become { name, source } => Self::Privilege(format!(
                "cannot become the user {name}, as RUN_AS requires: {source}\nStart portsentry as root, or \
                 as that user and without RUN_AS."
            )),
            UserError::LookUp(source) => Self::system("cannot look up the user of RUN_AS")(source),
            other => Self::Privilege(other.to_string()),
        }
    }
}
