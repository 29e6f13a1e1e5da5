//! A small network for tests: two namespaces joined by a veth pair.
//!
//! One namespace is the *host*, where the sentry runs; the other is the *scanner*.
//! Neither has a route to the outside. When the [`Testbed`] is dropped, both are removed,
//! and the processes that were started in them are killed. Addresses are drawn at random,
//! so that tests can run in parallel and no test can depend on a constant.
//!
//! Namespaces need root. A test starts with [`require_root`], which prints why the test
//! is skipped, or fails where skipping is not allowed:
//!
//! ```no_run
//! let Some(root) = portsentry_testbed::require_root() else { return };
//! let bed = portsentry_testbed::Testbed::new(root);
//! let target = bed.host.v4().to_string();
//! let report = bed.scanner.run("nmap", &["-n", "-sS", "-p", "1-20", &target]);
//! ```
//!
//! [`captures_folder`] finds the captures of real scans. [`malformed_configurations`] and
//! [`malformed_ignore_lists`] list files that the program must refuse.
//!
//! This is a library for tests: every failure is a panic with a message for the person
//! who runs them.

mod address;
mod captures;
mod malformed;
mod namespace;
mod old_kernel;
mod privilege;
mod process;
mod waiting;

pub use captures::{CAPTURES, Capture, captures_folder};
pub use malformed::{Malformed, malformed_configurations, malformed_ignore_lists};
pub use namespace::{Namespace, Testbed};
pub use old_kernel::{Release, on_old_kernel};
pub use privilege::{Root, has_service, require_root};
pub use process::{Background, Line, Stream};
pub use rustix::process::Signal;
pub use waiting::{SOON, holds_soon, wait_until};
