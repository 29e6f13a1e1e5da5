//! The program `portsentry`, which is implemented in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    portsentry_cli::main(std::env::args_os())
}
