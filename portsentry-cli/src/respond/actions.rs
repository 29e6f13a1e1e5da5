//! Which actions a response has, and carrying them out in order.

use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use portsentry_core::config::{BlockMode, Settings, Template};
use portsentry_core::{Outcome, Protocol};

use super::blocked_file::BlockedFile;
use super::command::{Command, Tokens};
use super::hosts_deny::{Added, add_line};
use super::plain::Answered;
use crate::report::Level;

/// What the configuration says about responses.
#[derive(Debug)]
pub struct Actions {
    tcp: BlockMode,
    udp: BlockMode,
    kill_route: Option<Template>,
    kill_hosts_deny: Option<Template>,
    kill_run_cmd: Option<Template>,
    /// About the names in `kill_route` and `kill_run_cmd`.
    answered: [Answered; 2],
    command_first: bool,
    limit: Duration,
    /// Its lock is held while the file is replaced.
    hosts_deny: Mutex<PathBuf>,
    blocked_file: Option<Mutex<BlockedFile>>,
}

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
    pub what: Happened,
}

/// What happened in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
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

impl Actions {
    /// What `settings` say. `blocked_file` is the file they name, opened.
    pub fn new(settings: &Settings, blocked_file: Option<BlockedFile>) -> Self {
        Self {
            tcp: settings.block_tcp,
            udp: settings.block_udp,
            kill_route: settings.kill_route.clone(),
            kill_hosts_deny: settings.kill_hosts_deny.clone(),
            kill_run_cmd: settings.kill_run_cmd.clone(),
            answered: Default::default(),
            command_first: settings.kill_run_cmd_first,
            limit: settings.response_timeout,
            hosts_deny: Mutex::new(settings.hosts_deny_file.clone().into()),
            blocked_file: blocked_file.map(Mutex::new),
        }
    }

    /// Whether there is anything to do about a probe of this protocol.
    pub fn any(&self, protocol: Protocol) -> bool {
        self.in_order(protocol).next().is_some()
    }

    /// Responds to a probe: carries out each action in order and `tell`s of it.
    /// Takes as long as the commands do. Once `stop` is readable, a command that
    /// runs is ended, and none is begun.
    ///
    /// When this says that the host was dealt with, the host stands in the
    /// blocked file, if there is one.
    pub fn respond(
        &self,
        probe: Tokens,
        stop: BorrowedFd<'_>,
        tell: &mut dyn FnMut(Report),
    ) -> Outcome {
        let host = probe.target;
        let mut tell = |what| tell(Report { host, what });
        let mut succeeded = false;
        for action in self.in_order(probe.protocol) {
            succeeded |= self.act(action, probe, stop, &mut tell);
        }
        if !succeeded {
            tell(Happened::NothingWorked);
            return Outcome::Failed;
        }
        if let Some(file) = &self.blocked_file {
            let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Err(error) = file.append(host) {
                let path = file.path().display();
                tell(Happened::NotRecorded(format!("{path}: {error}")));
            }
        }
        Outcome::Succeeded
    }

    /// What is done about a probe of this protocol, in order.
    pub(crate) fn in_order(&self, protocol: Protocol) -> impl Iterator<Item = Action> {
        let mode = match protocol {
            Protocol::Tcp => self.tcp,
            Protocol::Udp => self.udp,
        };
        let order: &[Action] = match mode {
            BlockMode::Command => &[Action::Command],
            BlockMode::Block if self.command_first => {
                &[Action::Command, Action::Route, Action::HostsDeny]
            }
            BlockMode::Block => &[Action::Route, Action::HostsDeny, Action::Command],
            _ => &[],
        };
        order.iter().copied().filter(|action| self.template(*action).is_some())
    }

    fn template(&self, action: Action) -> Option<&Template> {
        match action {
            Action::Route => self.kill_route.as_ref(),
            Action::HostsDeny => self.kill_hosts_deny.as_ref(),
            Action::Command => self.kill_run_cmd.as_ref(),
        }
    }

    fn act(
        &self,
        action: Action,
        tokens: Tokens,
        stop: BorrowedFd<'_>,
        tell: &mut dyn FnMut(Happened),
    ) -> bool {
        let Some(template) = self.template(action) else { return false };
        let text = template.expand(tokens.target, tokens.port, tokens.mode);
        let result = match action {
            Action::HostsDeny => self.deny(&text),
            Action::Route | Action::Command => {
                let [route, other] = &self.answered;
                let answered = if action == Action::Route { route } else { other };
                let limit = self.limit;
                let command = Command { text: &text, answered, tokens, limit, stop };
                command.run().map_err(|error| error.to_string()).map(|finished| {
                    if !finished.output.is_empty() {
                        tell(Happened::Output(finished.output));
                    }
                    Added::Now
                })
            }
        };
        let succeeded = result.is_ok();
        tell(match result {
            Ok(Added::Now) => Happened::Done(action, text),
            Ok(Added::Before) => Happened::AlreadyDenied,
            Err(error) => Happened::Failed(action, error),
        });
        succeeded
    }

    fn deny(&self, line: &str) -> Result<Added, String> {
        let path = self.hosts_deny.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        add_line(&path, line).map_err(|error| error.to_string())
    }
}

impl Report {
    /// How important this is.
    pub fn level(&self) -> Level {
        match self.what {
            Happened::Done(..) | Happened::AlreadyDenied => Level::Notice,
            Happened::Output(_) => Level::Debug,
            Happened::Failed(..)
            | Happened::NothingWorked
            | Happened::NotRecorded(_)
            | Happened::Refused(_) => Level::Error,
        }
    }

    /// The line, with `name` for the host's name.
    pub fn line<'a>(&'a self, name: Option<&'a str>) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            let host = self.host;
            match &self.what {
                Happened::Done(Action::Route, command) => write!(
                    f,
                    "attackalert: Host {host} has been blocked via dropped route using command: \"{command}\""
                ),
                Happened::Done(Action::HostsDeny, line) => write!(
                    f,
                    "attackalert: Host {host} has been blocked via wrappers with string: \"{line}\""
                ),
                Happened::Done(Action::Command, command) => write!(
                    f,
                    "attackalert: External command run for host: {host} using command: \"{command}\""
                ),
                Happened::AlreadyDenied => {
                    write!(f, "Host {host} already in hosts.deny file, skipping.")
                }
                Happened::Failed(action, why) => write!(f, "{} for {host}: {why}", action.key()),
                Happened::Output(output) => write!(f, "response to {host}: {output}"),
                Happened::NothingWorked => {
                    f.write_str("attackalert: Error during target dispose ")?;
                    match name {
                        Some(name) => write!(f, "{name}/{host}!"),
                        None => write!(f, "{host}/{host}!"),
                    }
                }
                Happened::Refused(why) => write!(f, "Not responding to {host}: {why}"),
                Happened::NotRecorded(why) => write!(
                    f,
                    "Host {host} was dealt with, but will be acted on again after a restart: {why}"
                ),
            }
        })
    }
}

impl Action {
    /// The key of the configuration that says what to do.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Route => "KILL_ROUTE",
            Self::HostsDeny => "KILL_HOSTS_DENY",
            Self::Command => "KILL_RUN_CMD",
        }
    }
}
