//! The parts of the program `portsentry`.
//!
//! The packet thread reads sensors, owns the engine and does nothing that can
//! wait: [`report`] writes lines on a thread of its own behind a bounded queue,
//! and [`responder`] is a process of its own that carries out responses
//! ([`respond`]). The process with the packet thread gives up what it does not
//! use (`sandbox`). What the program does is one of the `commands`; why it ends
//! before its time is told in one place.
//!
//! Tools that want the detection alone embed `portsentry-core` and
//! `portsentry-capture`; this crate is for those that want the writing and
//! responding as well. [`main`] is the program:
//!
//! ```no_run
//! let status = portsentry_cli::main(["portsentry", "check", "-c", "test.conf"]);
//! ```

mod arguments;
mod background;
mod commands;
mod failure;
mod generate;
mod logging;
mod old_modes;
mod packets;
mod policy;
pub mod report;
pub mod respond;
pub mod responder;
mod sandbox;
mod sensors;
mod sentry;
mod service;
mod session;
mod shard;
mod shards;
mod signals;
mod summary;
mod time;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, VERSION};

/// Runs the program with these words, the first of which is its name, and
/// gives its exit status: 0 fine, 1 failed, 2 wrong usage, 77 a privilege is
/// missing, 78 the configuration is wrong.
///
/// To watch, and with `-D`, it starts the executable of this process again with
/// the words that this process was started with, and an environment variable that
/// says what for: those have to lead here too. It gives up rights of the calling
/// thread for good.
pub fn main(words: impl IntoIterator<Item: Into<OsString> + Clone>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    if let Err(failure) = old_modes::refuse(&words) {
        failure.show();
        return failure.exit_code();
    }
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help goes to standard output and counts as success, errors do not.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if arguments.version {
        // Whoever closes the output does not want to know.
        let _ = writeln!(io::stdout(), "Portsentry {VERSION}");
        return ExitCode::SUCCESS;
    }
    let result = match &arguments.command {
        None if responder::is_called() => responder::run(&arguments.watch),
        None => commands::watch(&arguments.watch),
        Some(Command::Check(options)) => commands::check(options),
        Some(Command::Replay(options)) => commands::replay(options),
        Some(Command::Generate(options)) => commands::generate(options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.show();
            failure.exit_code()
        }
    }
}
