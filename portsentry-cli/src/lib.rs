//! The program `portsentry`.
//!
//! The packet process reads sensors, owns the engine and gives up the rights that it
//! does not need ([`portsentry_sandbox`]). Its packet thread does nothing that can wait:
//! [`portsentry_output`] writes lines on a separate thread behind a bounded queue, and the
//! responder, a second process, carries out responses ([`portsentry_respond`]).
//!
//! Tools that need the detection alone embed `portsentry-core` and `portsentry-capture`.
//! [`main`] is the program:
//!
//! ```no_run
//! let status = portsentry_cli::main(["portsentry", "check", "-c", "test.conf"]);
//! ```

mod arguments;
mod commands;
mod configuration;
mod failure;
mod generate;
mod legacy_modes;
mod logging;
mod runtime;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command, VERSION};

/// Runs the program with these words, the first of which is its name, and returns its exit status:
/// 0 success, 1 failure, 2 invalid command line, 77 missing privilege, 78 invalid configuration.
///
/// To watch, and with `-D`, it starts the executable of this process again, with the words that
/// this process was started with. An environment variable selects the role of the new process, so
/// those words must lead to this function too. It gives up rights of the calling thread
/// permanently.
pub fn main(words: impl IntoIterator<Item: Into<OsString> + Clone>) -> ExitCode {
    let words: Vec<OsString> = words.into_iter().map(Into::into).collect();
    if let Err(failure) = legacy_modes::refuse(&words) {
        failure.show();
        return failure.exit_code();
    }
    let arguments = match Arguments::try_parse_from(words) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help is printed to standard output and counts as success, errors do not.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    if arguments.version {
        // A closed output is not an error.
        let _ = writeln!(io::stdout(), "Portsentry {VERSION}");
        return ExitCode::SUCCESS;
    }
    let result = match &arguments.command {
        None if portsentry_respond::is_called() => commands::respond(&arguments.watch),
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
