//! Which actions a response has, and carrying them out in order.

pub(crate) mod command;
mod descriptors;
pub(crate) mod hosts_deny;
pub(crate) mod simple_command;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use portsentry_core::config::{BlockMode, Settings, Template};
use portsentry_core::{Outcome, Protocol};
use portsentry_report::{Action, ActionEvent, Report};

use crate::store::BlockedFile;
use command::{Command, ProbeContext};
use hosts_deny::{Added, add_line};
use simple_command::ShellAnswer;

/// What the configuration says about responses.
#[derive(Debug)]
pub struct Actions {
    tcp: BlockMode,
    udp: BlockMode,
    kill_route: Option<Template>,
    kill_hosts_deny: Option<Template>,
    kill_run_cmd: Option<Template>,
    /// About the names in `kill_route` and `kill_run_cmd`.
    shell_answer: [ShellAnswer; 2],
    command_first: bool,
    limit: Duration,
    /// Its lock is held while the file is replaced.
    hosts_deny: Mutex<PathBuf>,
    blocked_file: Option<Mutex<BlockedFile>>,
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
            shell_answer: Default::default(),
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
        probe: ProbeContext,
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
            tell(ActionEvent::NothingWorked);
            return Outcome::Failed;
        }
        if let Some(file) = &self.blocked_file {
            let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Err(error) = file.append(host) {
                let path = file.path().display();
                tell(ActionEvent::NotRecorded(format!("{path}: {error}")));
            }
        }
        Outcome::Succeeded
    }

    /// What is done about a probe of this protocol, in order.
    pub fn in_order(&self, protocol: Protocol) -> impl Iterator<Item = Action> {
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
        tokens: ProbeContext,
        stop: BorrowedFd<'_>,
        tell: &mut dyn FnMut(ActionEvent),
    ) -> bool {
        let Some(template) = self.template(action) else { return false };
        let text = template.expand(tokens.target, tokens.port, tokens.mode);
        let result = match action {
            Action::HostsDeny => self.deny(&text),
            Action::Route | Action::Command => {
                let [route, other] = &self.shell_answer;
                let shell_answer = if action == Action::Route { route } else { other };
                let limit = self.limit;
                let command = Command { text: &text, shell_answer, tokens, limit, stop };
                command.run().map_err(|error| error.to_string()).map(|finished| {
                    if !finished.output.is_empty() {
                        tell(ActionEvent::Output(finished.output));
                    }
                    Added::Now
                })
            }
        };
        let succeeded = result.is_ok();
        tell(match result {
            Ok(Added::Now) => ActionEvent::Done(action, text),
            Ok(Added::Before) => ActionEvent::AlreadyDenied,
            Err(error) => ActionEvent::Failed(action, error),
        });
        succeeded
    }

    fn deny(&self, line: &str) -> Result<Added, String> {
        let path = self.hosts_deny.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        add_line(&path, line).map_err(|error| error.to_string())
    }
}
