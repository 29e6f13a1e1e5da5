//! Runs one shell command, within limits.
//!
//! A command without shell syntax is started directly, any other by `/bin/sh -c`; the result is the
//! same. The command gets a separate process group, a clean environment, no descriptor of
//! portsentry and empty standard input. The end of its output is kept. On timeout, the whole
//! process group is ended.

use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use portsentry_capture::reactor::{self, Interest};
use rustix::process::{Pid, Signal, kill_process_group};

use super::child_end::ChildEnd;
use super::descriptors::keep_descriptors_from_children;
use super::simple_command::{ShellAnswer, SimpleCommand};
use crate::probe_context::ProbeContext;

/// Search path of commands.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Number of bytes of output that are kept, the last ones.
const OUTPUT_KEPT: usize = 4096;

/// Time that a process group has to end after `SIGTERM`, before it is killed.
pub(crate) const GRACE: Duration = Duration::from_secs(1);

/// A shell command that is ready to run.
#[derive(Clone, Debug)]
pub struct Command<'a> {
    /// Argument of `/bin/sh -c`. A simple command is started without a shell, once `shell_answer`
    /// shows that the shell would do the same.
    pub text: &'a str,
    /// Answer of the shell about the name of this command's program. The shell is asked after the
    /// first success.
    pub shell_answer: &'a ShellAnswer,
    /// Passed to the command as `PORTSENTRY_TARGET`, `PORTSENTRY_PORT`, `PORTSENTRY_MODE` and
    /// `PORTSENTRY_PROTOCOL`.
    pub probe: ProbeContext,
    /// Time that the command has.
    pub limit: Duration,
    /// Once this is readable, the command is not started, or ended if it runs.
    pub stop: BorrowedFd<'a>,
}

/// A command that ended with status 0.
#[derive(Debug)]
pub struct Finished {
    /// End of its standard output and standard error, on one line.
    pub output: String,
}

/// Reason for which a command has failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// The shell could not be started.
    #[error("cannot run /bin/sh: {0}")]
    Start(#[source] io::Error),
    /// The command could not be watched, and was ended.
    #[error("cannot wait for the command: {0}")]
    Wait(#[source] io::Error),
    /// The command exited with a status other than 0, or was killed by a signal.
    #[error("{}{}", describe(*status), tail(output))]
    Failed {
        /// Exit status or signal.
        status: ExitStatus,
        /// End of its output.
        output: String,
    },
    /// The command was not started, or was ended, because the program exits.
    #[error("stopped, because portsentry exits")]
    Stopped,
    /// The command was ended because it took too long.
    #[error("timed out after {} s (RESPONSE_TIMEOUT){}", limit.as_secs(), tail(output))]
    TimedOut {
        /// Time that the command had.
        limit: Duration,
        /// End of its output.
        output: String,
    },
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(127), _) => "exit status 127 (command not found)".to_owned(),
        (Some(126), _) => "exit status 126 (not executable)".to_owned(),
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended abnormally".to_owned(),
    }
}

fn tail(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!("; output: {output}") }
}

impl Command<'_> {
    /// Runs the command until it ends.
    ///
    /// # Errors
    ///
    /// Anything except exit status 0, see [`CommandError`].
    pub fn run(&self) -> Result<Finished, CommandError> {
        let finished = self.run_once()?;
        self.ask_about_name();
        Ok(finished)
    }

    /// Asks the shell once whether the name is a program, after the first response rather than
    /// before it. Without an answer, the next response asks again.
    fn ask_about_name(&self) {
        if !self.shell_answer.is_empty() {
            return;
        }
        if let Some(plain) = SimpleCommand::read(self.text).filter(|it| !it.is_path()) {
            let Self { shell_answer, probe, limit, stop, .. } = *self;
            let text = &format!("command -v {}", plain.name());
            if let Ok(answer) = (Command { text, shell_answer, probe, limit, stop }).run_once() {
                self.shell_answer.keep(plain.name(), &answer.output);
            }
        }
    }

    fn run_once(&self) -> Result<Finished, CommandError> {
        if is_readable(self.stop) {
            return Err(CommandError::Stopped);
        }
        let (reader, child) = self.start().map_err(CommandError::Start)?;
        let mut running = Running { child, reader, output: Vec::new() };
        let end = ChildEnd::of(running.pid()).map_err(|error| {
            running.end_group(None);
            CommandError::Wait(error)
        })?;
        match running.wait(&end, Instant::now() + self.limit, Some(self.stop)) {
            Ok(End::Status(status)) => {
                running.read_available();
                let output = running.text();
                if status.success() {
                    Ok(Finished { output })
                } else {
                    Err(CommandError::Failed { status, output })
                }
            }
            Ok(End::Deadline) => {
                running.end_group(Some(&end));
                Err(CommandError::TimedOut { limit: self.limit, output: running.text() })
            }
            Ok(End::Stopped) => {
                running.end_group(Some(&end));
                Err(CommandError::Stopped)
            }
            Err(error) => {
                running.end_group(Some(&end));
                Err(CommandError::Wait(error))
            }
        }
    }

    fn start(&self) -> io::Result<(PipeReader, Child)> {
        keep_descriptors_from_children()?;
        let (reader, writer) = io::pipe()?;
        rustix::io::ioctl_fionbio(&reader, true)?;
        // The shell may run a file that the kernel does not start, such as a script without a `#!`
        // line.
        let alone = self.without_shell().map(|mut it| self.spawn(&mut it, &writer));
        let child = match alone {
            Some(Ok(child)) => child,
            None | Some(Err(_)) => {
                let mut shell = std::process::Command::new("/bin/sh");
                self.spawn(shell.arg("-c").arg(self.text).env_clear(), &writer)?
            }
        };
        Ok((reader, child))
    }

    /// Returns the program itself, if the shell would only start it.
    fn without_shell(&self) -> Option<std::process::Command> {
        let plain = SimpleCommand::read(self.text)?;
        if !plain.is_path() && self.shell_answer.is_program(plain.name()) != Some(true) {
            return None;
        }
        // A shell sets this variable, so programs may rely on it.
        let directory = std::env::current_dir().ok()?;
        let mut program = std::process::Command::new(plain.program(PATH)?);
        program.arg0(plain.name()).args(&plain.arguments).env_clear().env("PWD", directory);
        Some(program)
    }

    fn spawn(&self, command: &mut std::process::Command, writer: &PipeWriter) -> io::Result<Child> {
        let ProbeContext { target, port, mode, protocol, .. } = self.probe;
        command
            .env("PATH", PATH)
            .env("PORTSENTRY_TARGET", target.to_string())
            .env("PORTSENTRY_PORT", port.to_string())
            .env("PORTSENTRY_MODE", mode.to_string())
            .env("PORTSENTRY_PROTOCOL", protocol.to_string())
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer.try_clone()?)
            .process_group(0)
            .spawn()
    }
}

/// A running command and its output so far.
struct Running {
    child: Child,
    reader: PipeReader,
    output: Vec<u8>,
}

/// Reason for which [`Running::wait`] returned.
enum End {
    /// The shell, or the program that needs none, has ended.
    Status(ExitStatus),
    /// The command still runs, and its time is over.
    Deadline,
    /// The command still runs, and must end.
    Stopped,
}

impl Running {
    /// Waits for the end of the shell, at most until `deadline` or until `stop` is readable. Does
    /// not wait for processes in the background.
    fn wait(
        &mut self,
        end: &ChildEnd,
        deadline: Instant,
        stop: Option<BorrowedFd<'_>>,
    ) -> io::Result<End> {
        let mut open = true;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let reader = open.then(|| self.reader.as_fd());
            let interests = [Some(end.as_fd()), stop, reader];
            let interests = interests.map(|it| it.map(Interest::readable));
            let [ended, stopped, readable] = reactor::wait(interests, Some(left))?;
            if open && readable {
                open = self.read_available();
            }
            if ended {
                return self.child.wait().map(End::Status);
            }
            if stopped {
                return Ok(End::Stopped);
            }
            if left.is_zero() {
                return Ok(End::Deadline);
            }
        }
    }

    /// Reads the available output and keeps its end. Returns `false` at the end of output.
    fn read_available(&mut self) -> bool {
        let mut chunk = [0; 4096];
        // Bounded, so that a command with endless output cannot keep the thread in this loop.
        for _ in 0..64 {
            match self.reader.read(&mut chunk) {
                Ok(0) => return false,
                Ok(count) => {
                    self.output.extend_from_slice(&chunk[..count]);
                    let excess = self.output.len().saturating_sub(OUTPUT_KEPT);
                    self.output.drain(..excess);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
            }
        }
        true
    }

    /// Returns the output on one line, without control characters.
    fn text(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        let words: String =
            text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        words
    }

    /// Ends the command and all its children in the process group: sends `SIGTERM`, and kills the
    /// remaining processes after a second; without an `end` to wait for, immediately.
    fn end_group(&mut self, end: Option<&ChildEnd>) {
        let group = self.pid();
        let _ = kill_process_group(group, Signal::TERM);
        let ended = end.map(|end| self.wait(end, Instant::now() + GRACE, None));
        if !matches!(ended, Some(Ok(End::Status(_)))) {
            let _ = kill_process_group(group, Signal::KILL);
            let _ = self.child.wait();
            return;
        }
        // The shell has ended; a child that ignored the signal may still run.
        let _ = kill_process_group(group, Signal::KILL);
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }
}

fn is_readable(descriptor: BorrowedFd<'_>) -> bool {
    let interest = Some(Interest::readable(descriptor));
    reactor::wait([interest], Some(Duration::ZERO)).is_ok_and(|ready| ready == [true])
}

#[cfg(test)]
mod tests;
