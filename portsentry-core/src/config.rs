//! The configuration file and the ignore file: from bytes to a value and
//! findings.
//!
//! [`parse`] and [`parse_ignore_list`] never fail, never stop at the first
//! error and never panic: they give what could be read and all that was found
//! wrong, each with its place. Whether a value with errors is used is the
//! caller's decision; portsentry does not. [`KEYS`] is the one table of what
//! can be configured: the parser, the writer and every reference read it.
//!
//! Nothing here opens a file. Reading files, laying the command line over them
//! and showing findings to people is `portsentry-config`'s work.
//!
//! ```
//! use portsentry_core::config;
//!
//! let parsed = config::parse(b"TCP_PORTS = \"23, 100-90\"\nBLOCK_TPC = \"1\"\n");
//! assert!(parsed.value.tcp_ports.contains(23));
//! let found: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
//! assert_eq!(found, [
//!     "1:18: error: the range runs backwards; write `90-100`",
//!     "2:1: error: unknown key `BLOCK_TPC`",
//! ]);
//! ```

mod assignments;
mod cross_check;
mod diagnostic;
mod encoding;
mod excerpt;
mod ignore_list;
mod key;
mod keys;
mod legacy_keys;
mod network;
mod parse;
mod ports;
mod problem;
mod settings;
mod span;
mod statement;
mod template;
mod value;

pub use diagnostic::{Diagnostic, Severity};
pub use excerpt::Excerpt;
pub use ignore_list::parse_ignore_list;
pub use key::{DefaultValue, Key, ValueKind};
pub use keys::KEYS;
pub use parse::{Parsed, parse};
pub use problem::Problem;
pub use settings::{BlockMode, Settings};
pub use span::Span;
pub use template::Template;
