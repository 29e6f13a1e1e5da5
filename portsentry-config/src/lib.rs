//! Configuration files of portsentry: reading, paths and messages.
//!
//! [`load`] reads the configuration file and the ignore list that it names, and applies
//! the command line. It returns a [`Configuration`] that can be used as it is, or all
//! errors, each with its line and a mark under the place. [`portsentry_core::config`]
//! defines the syntax and the keys; this crate opens the files. It never prints, and
//! reads neither the environment nor the working directory: the caller passes them, so
//! that a reload long after the start gives the same result.
//!
//! ```
//! use std::path::Path;
//!
//! use portsentry_config::{Overrides, Responses, Source, Style, load_with};
//!
//! // Usually `load`, which reads real files.
//! let mut read = |path: &Path| {
//!     assert_eq!(path, Path::new("/etc/gateway/probes.conf"));
//!     Ok(b"TCP_PORTS = \"23, 445\"\nBLOCK_TCP = \"1\"\n".to_vec())
//! };
//! // This program blocks hosts itself, so the file needs no KILL_ key.
//! let source = Source::file("probes.conf").with_responses(Responses::Embedder);
//! let directory = Path::new("/etc/gateway");
//! match load_with(&source, Overrides::default(), directory, &mut read) {
//!     Ok(configuration) => {
//!         let policy = configuration.policy("192.0.2.1, 2001:db8::1".parse()?);
//!         assert!(policy.block_tcp && policy.tcp_ports.contains(445));
//!     }
//!     Err(error) => eprint!("{}", error.render(Style::Plain)),
//! }
//! # Ok::<(), portsentry_core::config::Problem>(())
//! ```

#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod configuration;
mod file;
mod finding;
mod load;
mod local_ports;
#[cfg(feature = "reference")]
pub mod reference;
mod snippet;
mod source;
mod suggestion;

pub use configuration::{Configuration, Origin};
pub use file::{FileError, MAX_FILE_SIZE, read_file};
pub use finding::{Cause, Finding, Findings, Style};
pub use load::{LoadError, load, load_with};
pub use portsentry_core::config::{PortAccess, Responses, Rings};
pub use source::{DEFAULT_PATH, IfMissing, LOCAL_PORT_RANGE, LocalPortSource, Overrides, Source};
