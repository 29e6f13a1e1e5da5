//! A small network for tests: two namespaces joined by a veth pair.
//!
//! One namespace is the *host*, where the sentry runs; the other is the
//! *scanner*. Nothing leaves them: they have no route to the outside, and they
//! go, with the processes that were started in them, when the [`Testbed`] is
//! dropped. Addresses are drawn at random, so tests can run side by side and
//! none can come to lean on a constant.
//!
//! Namespaces need root. A test begins with [`require_root`], which says why it
//! is skipped, or fails where skipping is not allowed:
//!
//! ```no_run
//! let Some(root) = portsentry_testbed::require_root() else { return };
//! let bed = portsentry_testbed::Testbed::new(root);
//! let target = bed.host.v4().to_string();
//! let report = bed.scanner.run("nmap", &["-n", "-sS", "-p", "1-20", &target]);
//! ```
//!
//! It also knows the captures of real scans that tests can be given, see
//! [`captures_folder`], and malformed files to be refused, see
//! [`malformed_configurations`].
//!
//! This is a library for tests: whatever goes wrong is a panic with a message
//! for the person who runs them.

mod address;
mod captures;
mod malformed;
mod namespace;
mod privilege;
mod process;

pub use captures::{CAPTURES, Capture, captures_folder};
pub use malformed::{Malformed, malformed_configurations, malformed_ignore_lists};
pub use namespace::{Namespace, Testbed};
pub use privilege::{Root, require_root};
pub use process::{Background, Line, Stream};
pub use rustix::process::Signal;
