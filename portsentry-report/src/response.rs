//! Steps and results of responses, and their log lines.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::level::Level;
use crate::prevented::Prevented;

/// A kind of action in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `KILL_ROUTE`.
    Route,
    /// `KILL_HOSTS_DENY`.
    HostsDeny,
    /// `KILL_RUN_CMD`.
    Command,
}

/// A step or result of a response to a host.
///
/// [`Report::line`] returns its log line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The host that the response is for.
    pub host: IpAddr,
    /// The step or result.
    pub what: ActionEvent,
}

/// A step or result of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ActionEvent {
    /// An action succeeded, with this command or line.
    Done(Action, String),
    /// `hosts.deny` already contained the line.
    AlreadyDenied,
    /// An action failed, with the reason.
    Failed(Action, String),
    /// Output of a command.
    Output(String),
    /// No action succeeded.
    NothingWorked,
    /// These actions failed and are tried again later; the others succeeded.
    Incomplete(Vec<Action>),
    /// The response succeeded, but the host could not be recorded, with the reason.
    NotRecorded(String),
    /// No action was tried, with the reason.
    Refused(String),
    /// No action was tried, to protect this host and its users.
    Prevented(Prevented),
}

impl Report {
    /// Returns the importance of the report.
    pub fn level(&self) -> Level {
        match self.what {
            ActionEvent::Done(..) | ActionEvent::AlreadyDenied | ActionEvent::Prevented(_) => {
                Level::Notice
            }
            ActionEvent::Output(_) => Level::Debug,
            ActionEvent::Failed(..)
            | ActionEvent::NothingWorked
            | ActionEvent::Incomplete(_)
            | ActionEvent::NotRecorded(_)
            | ActionEvent::Refused(_) => Level::Error,
        }
    }

    /// Returns the log line, with `name` as the host's name.
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
            ActionEvent::Incomplete(failed) => {
                let keys: Vec<&str> = failed.iter().map(|action| action.key()).collect();
                write!(
                    f,
                    "Host {host} is blocked only in part; with further probes of it, portsentry \
                     tries again: {}",
                    keys.join(", ")
                )
            }
            ActionEvent::Refused(why) => write!(f, "Not responding to {host}: {why}"),
            ActionEvent::Prevented(why) => write!(f, "Not responding to {host}: {why}"),
            ActionEvent::NotRecorded(why) => write!(
                f,
                "Responded to host {host}, but cannot record it; after a restart, portsentry responds to \
                 it again: {why}"
            ),
        }
    }
}

impl Action {
    /// All actions, in the order of their execution by default.
    pub const ALL: &'static [Self] = &[Self::Route, Self::HostsDeny, Self::Command];

    /// Returns the configuration key that defines the action.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Route => "KILL_ROUTE",
            Self::HostsDeny => "KILL_HOSTS_DENY",
            Self::Command => "KILL_RUN_CMD",
        }
    }
}
