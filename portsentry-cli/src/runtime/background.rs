//! Runs the program in the background (`-D`).
//!
//! The program starts itself a second time, in a separate session, and waits until that
//! process watches or has failed. Startup errors are therefore still printed and reflected
//! in the exit status, and nothing has to survive a fork.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::failure::Failure;

/// Environment variable of the second start. A user who sets it by hand gets a sentry in the
/// foreground, without output once it watches.
pub(crate) const VARIABLE: &str = "PORTSENTRY_IN_BACKGROUND";

/// Line that the second process prints when it watches.
const READY: &str = "ready";

/// Starts the program a second time with the same words, and waits until it watches.
///
/// # Errors
///
/// [`Failure::Background`] with the exit status of the second process, which has printed the
/// reason.
pub(crate) fn start() -> Result<(), Failure> {
    let cannot = Failure::system("cannot start in the background");
    let program = std::env::current_exe();
    let started = program.and_then(|program| {
        Command::new(program)
            .args(std::env::args_os().skip(1).collect::<Vec<OsString>>())
            .env(VARIABLE, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
    });
    let mut child = started.map_err(cannot)?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take() {
        // An error counts as the end of the output: the exit status has the reason.
        let _ = BufReader::new(output).read_line(&mut line);
    }
    if line.trim_end() == READY {
        return Ok(());
    }
    let status = child.wait().map_err(Failure::system("cannot start in the background"))?;
    let code = status.code().or(status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    Err(Failure::Background(u8::try_from(code).unwrap_or(1)))
}

/// The side of the second process, until it watches.
#[derive(Debug)]
pub(crate) struct Background(());

impl Background {
    /// Leaves the terminal, if this is the second start.
    pub(crate) fn enter() -> Option<Self> {
        std::env::var_os(VARIABLE)?;
        // This fails only for the leader of a session, which has left the terminal already.
        let _ = rustix::process::setsid();
        Some(Self(()))
    }

    /// Reports to the first process that the sentry watches, and releases its terminal and
    /// directory.
    pub(crate) fn ready(self) -> io::Result<()> {
        let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
        rustix::process::chdir("/")?;
        rustix::stdio::dup2_stderr(&null)?;
        // Last, because the first process waits for it.
        let mut output = io::stdout();
        writeln!(output, "{READY}")?;
        output.flush()?;
        rustix::stdio::dup2_stdout(&null)?;
        Ok(())
    }
}
