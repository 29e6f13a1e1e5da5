//! Errors that stop the program: one exit code and one message with the next step.

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

    /// An argument on the command line has no meaning.
    #[error("{0}\nRun `portsentry --help` for the options.")]
    Usage(String),

    /// A sensor could not be opened or has broken.
    #[error(transparent)]
    Sensor(#[from] SensorError),

    /// Standard output does not accept the result.
    #[error("cannot write to standard output: {0}")]
    Output(#[source] io::Error),

    /// The program in the background has failed with this exit status, and has
    /// printed the reason.
    #[error("the program in the background has failed")]
    Background(u8),

    /// There is not enough memory.
    #[error(
        "cannot reserve the {mebibytes} MiB of memory that it may come to need\nAllow it more: see `ulimit -v`."
    )]
    Memory {
        /// How much is wanted.
        mebibytes: usize,
    },

    /// The responder has refused to do what it was asked for.
    #[error("{0}")]
    Refused(String),

    /// The responder itself has failed.
    #[error(transparent)]
    Responder(ServerError),

    /// A right is missing that the configuration needs.
    #[error("{0}")]
    Privilege(String),

    /// The running program has given up what this takes.
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
    /// For `map_err`: the system refused `what`.
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

    /// The exit code, see [`status`](Self::status).
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }

    /// The exit status, after `sysexits.h` where it has one that fits.
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
                "error: RUN_AS: there is no user `{name}`; make one with `useradd --system`, or \
                 name another\n"
            )),
            UserError::Become { name, source } => Self::Privilege(format!(
                "cannot become the user {name}, as RUN_AS says: {source}\nStart it as root, or \
                 with that user and without RUN_AS."
            )),
            UserError::LookUp(source) => Self::system("cannot look up RUN_AS")(source),
            other => Self::Privilege(other.to_string()),
        }
    }
}
