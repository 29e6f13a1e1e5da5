//! The actions of a response, and how they are run in order.

mod child_end;
pub(crate) mod command;
pub(crate) mod descriptors;
pub(crate) mod hosts_deny;
mod missing;
pub(crate) mod simple_command;

use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use portsentry_core::config::{BlockMode, Settings, Template};
use portsentry_core::{Outcome, Protocol};
use portsentry_report::{Action, ActionEvent, Report};

use crate::probe_context::ProbeContext;
use crate::store::BlockedFile;
use command::Command;
use hosts_deny::{Added, add_line};
use missing::Missing;
use simple_command::ShellAnswer;

/// The responses that a configuration defines.
#[derive(Debug)]
pub struct Actions {
    tcp: BlockMode,
    udp: BlockMode,
    kill_route: Option<Template>,
    kill_hosts_deny: Option<Template>,
    kill_run_cmd: Option<Template>,
    /// Answers of the shell about the programs in `kill_route` and `kill_run_cmd`.
    shell_answer: [ShellAnswer; 2],
    command_first: bool,
    limit: Duration,
    /// The lock is held while the file is replaced.
    hosts_deny: Mutex<PathBuf>,
    blocked_file: Option<Mutex<BlockedFile>>,
    /// Used only with a blocked file: without one, each probe runs all actions.
    missing: Arc<Missing>,
}

impl Actions {
    /// Returns the actions of `settings`. `blocked_file` is the opened file that they name.
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
            missing: Arc::default(),
        }
    }

    /// Returns the actions with the record of `earlier` about hosts that are blocked in part,
    /// unless the actions differ.
    pub(crate) fn continuing(mut self, earlier: &Self) -> Self {
        let all = |it: &Self| {
            let commands =
                [&it.kill_route, &it.kill_hosts_deny, &it.kill_run_cmd].map(Clone::clone);
            (it.tcp, it.udp, commands, it.hosts_deny_file())
        };
        if all(&self) == all(earlier) {
            self.missing = Arc::clone(&earlier.missing);
        }
        self
    }

    /// Returns whether a probe of this protocol has any action.
    pub fn any(&self, protocol: Protocol) -> bool {
        self.in_order(protocol).next().is_some()
    }

    /// Responds to a probe: runs each action in order and passes the results to `report`. Takes as
    /// long as the commands do. Once `stop` is readable, a running command is ended and no other is
    /// started.
    ///
    /// If the last response to the host succeeded in part and there is a blocked file, only the
    /// actions that failed are run.
    ///
    /// If the result is [`Outcome::Succeeded`], the host is in the blocked file, if there is one
    /// and it could be written. A host that is blocked in part is not in the file, so that it gets
    /// a whole response after a restart.
    pub fn respond(
        &self,
        probe: ProbeContext,
        stop: BorrowedFd<'_>,
        report: &mut dyn FnMut(Report),
    ) -> Outcome {
        let host = probe.target;
        let mut report = |what| report(Report { host, what });
        let missing = self.blocked_file.as_ref().and_then(|_| self.missing.of(host));
        let is_missing =
            |action: &Action| missing.as_ref().is_none_or(|missing| missing.contains(action));
        let tried: Vec<Action> = self.in_order(probe.protocol).filter(is_missing).collect();
        let failed: Vec<Action> = tried
            .iter()
            .copied()
            .filter(|action| !self.act(*action, probe, stop, &mut report))
            .collect();
        if missing.is_none() && failed.len() == tried.len() {
            report(ActionEvent::NothingWorked);
            return Outcome::Failed;
        }
        // The response to the other protocol can have more actions.
        let left: Vec<Action> = Action::ALL
            .iter()
            .copied()
            .filter(|action| match &missing {
                Some(missing) if !tried.contains(action) => missing.contains(action),
                _ => failed.contains(action),
            })
            .collect();
        if !left.is_empty() {
            if !tried.is_empty() {
                report(ActionEvent::Incomplete(left.clone()));
            }
            if self.blocked_file.is_some() {
                self.missing.insert(host, left);
            }
            return Outcome::Partial;
        }
        self.missing.remove(host);
        if let Some(file) = &self.blocked_file {
            let mut file = file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Err(error) = file.append(host) {
                let path = file.path().display();
                report(ActionEvent::NotRecorded(format!("{path}: {error}")));
            }
        }
        Outcome::Succeeded
    }

    /// Returns the actions for a probe of this protocol, in order.
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
        probe: ProbeContext,
        stop: BorrowedFd<'_>,
        report: &mut dyn FnMut(ActionEvent),
    ) -> bool {
        let Some(template) = self.template(action) else { return false };
        let text = template.expand(probe.target, probe.port, probe.mode);
        let result = match action {
            Action::HostsDeny => self.deny(&text),
            Action::Route | Action::Command => {
                let [route, other] = &self.shell_answer;
                let shell_answer = if action == Action::Route { route } else { other };
                let limit = self.limit;
                let command = Command { text: &text, shell_answer, probe, limit, stop };
                command.run().map_err(|error| error.to_string()).map(|finished| {
                    if !finished.output.is_empty() {
                        report(ActionEvent::Output(finished.output));
                    }
                    Added::Now
                })
            }
        };
        let succeeded = result.is_ok();
        report(match result {
            Ok(Added::Now) => ActionEvent::Done(action, text),
            Ok(Added::Before) => ActionEvent::AlreadyDenied,
            Err(error) => ActionEvent::Failed(action, error),
        });
        succeeded
    }

    fn hosts_deny_file(&self) -> PathBuf {
        self.hosts_deny.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn deny(&self, line: &str) -> Result<Added, String> {
        let path = self.hosts_deny.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        add_line(&path, line).map_err(|error| error.to_string())
    }
}
