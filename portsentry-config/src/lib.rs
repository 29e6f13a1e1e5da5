//! The configuration as people meet it: files, paths and messages.
//!
//! [`load`] finds and reads the configuration file and the ignore list it
//! names, lays the command line over them, and gives either a [`Configuration`]
//! that can be used as it is, or every reason why there is none, each shown with
//! its line and a mark under the place. What the text means is decided by
//! [`portsentry_core::config`]; this crate opens the files. It never prints,
//! and reads neither the environment nor the working directory: the caller
//! passes them in, so that a reload long after the start gives the same.
//!
//! ```no_run
//! use portsentry_config::{Overrides, Source, Style, load};
//!
//! let directory = std::env::current_dir()?;
//! match load(&Source::default(), Overrides::default(), &directory) {
//!     Ok(configuration) => println!("watching {}", configuration.settings.tcp_ports),
//!     Err(error) => eprint!("{}", error.render(Style::Plain)),
//! }
//! # Ok::<(), std::io::Error>(())
//! ```

#![forbid(unsafe_code)]

mod file;
mod finding;
mod load;
mod snippet;
mod suggestion;

pub use file::{FileError, MAX_FILE_SIZE, read_file};
pub use finding::{Cause, Finding, Findings, Style};
pub use load::{
    Configuration, DEFAULT_PATH, LoadError, Origin, Overrides, Source, load, load_with,
};
