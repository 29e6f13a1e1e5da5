//! Runs the responder, which the sentry starts.

use std::path::Path;

use portsentry_capture::FragmentLimits;
use portsentry_config::FileError;
use portsentry_core::Mode;
use portsentry_report::Notice;
use portsentry_respond::{Options, ReplySender, Server};

use crate::arguments::WatchOptions;
use crate::configuration::{to_watch, working_directory};
use crate::failure::Failure;
use crate::logging;

/// Serves the packet process that has started this process, until it ends. `options` are those of
/// the packet process.
pub(crate) fn respond(options: &WatchOptions) -> Result<(), Failure> {
    let replies = ReplySender::from_stdin()?;
    let logger = replies.clone();
    logging::install(options.general.importance(), move |level, text| {
        logger.notify(Notice::Message { level, text });
    });
    let directory = working_directory()?;
    let (own, start) = (options.clone(), directory.clone());
    let load = move |read: &mut dyn FnMut(&Path) -> Result<Vec<u8>, FileError>| {
        // The packet process cannot open these files. The responder sends what it reads.
        let _ = FragmentLimits::of_kernel(|path| read(path).ok());
        to_watch(&own, &start, read).map_err(|failure| failure.to_string())
    };
    let options = Options {
        mode: if options.connect { Mode::Connect } else { Mode::Stealth },
        directory,
        leave_directory: options.daemon,
        pid_file: options.pidfile.clone(),
        load: Box::new(load),
    };
    Ok(Server::run(options, &replies)?)
}
