//! The configuration file and the ignore file: from bytes to a value and findings.
//!
//! [`parse`] and [`parse_ignore_list`] never fail, never stop at the first error and
//! never panic. They return the value, as far as it could be read, and all findings
//! with their places. The caller decides whether to use a value with errors; portsentry
//! does not. [`KEYS`] is the only table of keys: the parser, the writer and all
//! references use it.
//!
//! This module opens no file. The crate `portsentry-config` reads files, applies the
//! command line and shows findings to people.
//!
//! ```
//! use portsentry_core::config;
//!
//! let parsed = config::parse(b"TCP_PORTS = \"23, 100-90\"\nBLOCK_TPC = \"1\"\n");
//! assert_eq!(parsed.value.tcp_ports.to_string(), "23");
//! let findings: Vec<String> = parsed.diagnostics.iter().map(ToString::to_string).collect();
//! assert_eq!(findings, [
//!     "1:18: error: the range runs backwards; write `90-100`",
//!     "2:1: error: unknown key `BLOCK_TPC`",
//! ]);
//! ```

mod assignments;
mod by_key;
mod context;
mod cross_check;
mod diagnostic;
mod duration;
mod encoding;
mod excerpt;
mod from_str;
mod ignore_list;
mod key;
mod keys;
mod kind;
mod legacy_keys;
mod network;
mod parse;
mod port_list;
mod ports;
mod problem;
mod section;
mod settings;
mod span;
mod statement;
mod template;
mod units;
mod value;

pub use context::{Context, PortAccess, Responses, Rings};
pub use diagnostic::{Diagnostic, Severity};
pub use excerpt::Excerpt;
pub use ignore_list::parse_ignore_list;
pub use key::{DefaultValue, Key, Reload};
pub use keys::KEYS;
pub use kind::ValueKind;
pub use parse::{Parsed, parse, parse_in};
pub use port_list::{LocalPorts, PortList};
pub use problem::Problem;
pub use section::Section;
pub use settings::{BlockMode, Settings};
pub use span::Span;
pub use template::Template;
