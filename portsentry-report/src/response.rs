//! What happens in responses, and the lines about it.

use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

use crate::level::Level;

/// One kind of action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `KILL_ROUTE`.
    Route,
    /// `KILL_HOSTS_DENY`.
    HostsDeny,
    /// `KILL_RUN_CMD`.
    Command,
}

/// Something to be said about a response to a host.
///
/// `Display` with [`Report::line`] gives the lines of the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The host that is responded to.
    pub host: IpAddr,
    /// What happened.
    pub what: ActionEvent,
}

/// What happened in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionEvent {
    /// An action was done, with this command or line.
    Done(Action, String),
    /// The line stood in `hosts.deny` already.
    AlreadyDenied,
    /// An action failed, with the reason.
    Failed(Action, String),
    /// What a command wrote.
    Output(String),
    /// No action worked.
    NothingWorked,
    /// The host is dealt with, but could not be recorded.
    NotRecorded(String),
    /// Nothing was tried, with the reason.
    Refused(String),
}

impl Report {
    /// How important this is.
    pub fn level(&self) -> Level {
        match self.what {
            ActionEvent::Done(..) | ActionEvent::AlreadyDenied => Level::Notice,
            ActionEvent::Output(_) => Level::Debug,
            ActionEvent::Failed(..)
            | ActionEvent::NothingWorked
            | ActionEvent::NotRecorded(_)
            | ActionEvent::Refused(_) => Level::Error,
        }
    }

    /// The line, with `name` for the host's name.
    pub fn line<'a>(&'a self, name: Option<&'a str>) -> impl fmt::Display + 'a {
        Line { report: self, name }
    }
}

/// The line of a report.
struct Line<'a> {
    report: &'a Report,
    name: Option<&'a str>,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { report, name } = *self;
        let host = report.host;
        match &report.what {
            ActionEvent::Done(Action::Route, command) => write!(
                f,
                "attackalert: Host {host} has been blocked via dropped route using command: \"{command}\""
            ),
            ActionEvent::Done(Action::HostsDeny, line) => write!(
                f,
                "attackalert: Host {host} has been blocked via wrappers with string: \"{line}\""
            ),
            ActionEvent::Done(Action::Command, command) => write!(
                f,
                "attackalert: External command run for host: {host} using command: \"{command}\""
            ),
            ActionEvent::AlreadyDenied => {
                write!(f, "Host {host} already in hosts.deny file, skipping.")
            }
            ActionEvent::Failed(action, why) => write!(f, "{} for {host}: {why}", action.key()),
            ActionEvent::Output(output) => write!(f, "response to {host}: {output}"),
            ActionEvent::NothingWorked => {
                f.write_str("attackalert: Error during target dispose ")?;
                match name {
                    Some(name) => write!(f, "{name}/{host}!"),
                    None => write!(f, "{host}/{host}!"),
                }
            }
            ActionEvent::Refused(why) => write!(f, "Not responding to {host}: {why}"),
            ActionEvent::NotRecorded(why) => write!(
                f,
                "Host {host} was dealt with, but will be acted on again after a restart: {why}"
            ),
        }
    }
}

impl Action {
    /// The key of the configuration that says what to do.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Route => "KILL_ROUTE",
            Self::HostsDeny => "KILL_HOSTS_DENY",
            Self::Command => "KILL_RUN_CMD",
        }
    }
}
