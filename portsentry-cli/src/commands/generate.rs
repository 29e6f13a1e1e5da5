//! `portsentry generate`: documents and completions.

use std::io::{self, Write as _};

use crate::arguments::GenerateOptions;
use crate::failure::Failure;
use crate::generate::text;

pub(crate) fn generate(options: &GenerateOptions) -> Result<(), Failure> {
    match io::stdout().write_all(text(options.document).as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::Output(error)),
        _ => Ok(()),
    }
}
