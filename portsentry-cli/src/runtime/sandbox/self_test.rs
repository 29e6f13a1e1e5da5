//! Runs an action inside the sandbox for tests. Not in a release build.

use std::fs::File;
use std::io::{self, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// An action and its argument, separated by a blank.
const VARIABLE: &str = "PORTSENTRY_TRIAL";

/// Runs the action that the environment names, and prints the result on standard error.
pub(super) fn run() {
    let Ok(trial) = std::env::var(VARIABLE) else { return };
    let (what, with) = trial.split_once(' ').unwrap_or((&trial, ""));
    let result: io::Result<()> = match what {
        "read" => File::open(with).map(drop),
        "write" => File::options().append(true).open(with).map(drop),
        "create" => File::create_new(with).map(drop),
        "list" => std::fs::read_dir(with).map(drop),
        "remove" => std::fs::remove_file(with),
        "exec" => Command::new(with).status().map(drop),
        "replace" => Err(Command::new(with).exec()),
        "connect" => TcpStream::connect(with).map(drop),
        "listen" => TcpListener::bind(with).map(drop),
        "socket" => {
            use rustix::net::{AddressFamily, SocketType, socket};
            let family = AddressFamily::from_raw(with.parse().unwrap_or(0));
            socket(family, SocketType::DGRAM, None).map(drop).map_err(Into::into)
        }
        "kill" => {
            let pid = with.parse().ok().and_then(rustix::process::Pid::from_raw);
            let Some(pid) = pid else { return };
            rustix::process::test_kill_process(pid).map_err(Into::into)
        }
        "root" => rustix::process::chroot(with).map_err(Into::into),
        "user" => rustix::thread::set_thread_uid(rustix::process::Uid::ROOT).map_err(Into::into),
        "thread" => std::thread::Builder::new().spawn(|| {}).map(drop),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    };
    let shown = match result {
        Ok(()) => "done".to_owned(),
        Err(error) => error.to_string(),
    };
    let _ = writeln!(io::stderr(), "trial: {trial}: {shown}");
}
