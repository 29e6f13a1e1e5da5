//! Drops the rights that a process no longer needs.
//!
//! A sandbox has three layers, which protect independently of each other: the user and the
//! capabilities ([`User`], [`drop_capabilities`]), the files and TCP connections
//! (Landlock, [`Reach`]), and the system calls (seccomp, [`SystemCalls`]). All layers
//! apply to the calling thread and the threads that it starts later. A process therefore
//! enters its sandbox before it starts the second thread.
//!
//! ```no_run
//! use portsentry_sandbox::{
//!     AddressFamily, CallGroup, CapabilitySet, Reach, Sandbox, SystemCalls, User,
//! };
//!
//! let sandbox = Sandbox {
//!     capabilities: CapabilitySet::NET_BIND_SERVICE,
//!     reach: Reach { read: vec!["/etc/localtime".into()], bind_tcp: true, ..Reach::default() },
//!     calls: SystemCalls {
//!         groups: vec![
//!             CallGroup::Io,
//!             CallGroup::Files,
//!             CallGroup::Sockets,
//!             CallGroup::Memory,
//!             CallGroup::Threads,
//!             CallGroup::Signals,
//!             CallGroup::Environment,
//!         ],
//!         families: vec![AddressFamily::INET, AddressFamily::INET6],
//!     },
//! };
//! User::find("nobody")?.become_keeping(sandbox.capabilities)?;
//! for (layer, error) in sandbox.enter() {
//!     eprintln!("running without {layer}: {error}");
//! }
//! # Ok::<(), portsentry_sandbox::UserError>(())
//! ```

#![forbid(unsafe_code)]

mod files;
mod privileges;
mod system_calls;

use std::fmt;
use std::io;

pub use files::Reach;
pub use privileges::{User, UserError, drop_capabilities};
pub use rustix::net::AddressFamily;
pub use rustix::thread::CapabilitySet;
pub use system_calls::{CallGroup, SystemCalls};

/// The rights that a process keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Capabilities to keep, if the process has them.
    pub capabilities: CapabilitySet,
    /// Files and TCP ports that the process can still use.
    pub reach: Reach,
    /// System calls that the process can still use.
    pub calls: SystemCalls,
}

/// A layer of a sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Layer {
    /// The capabilities of the process.
    Capabilities,
    /// The ban on new rights from started programs (`no_new_privs`).
    NoNewPrivileges,
    /// Files and TCP ports.
    Landlock,
    /// System calls.
    Seccomp,
}

/// The support of this system for a sandbox, see [`Sandbox::test`].
#[derive(Debug)]
pub struct Test {
    /// Whether the kernel supports all requested rules of Landlock, or the error.
    pub reach: io::Result<()>,
    /// Number of allowed system calls, or the error.
    pub calls: io::Result<usize>,
}

impl Sandbox {
    /// Drops all rights except those in `self`. Returns the layers that the kernel or a
    /// container does not support, with the reason. The other layers are active.
    ///
    /// Call this while the process has only one thread: threads that are already running
    /// keep their rights.
    pub fn enter(&self) -> Vec<(Layer, io::Error)> {
        // The order matters: each layer forbids the calls that set up an earlier one.
        let layers = [
            (Layer::Capabilities, drop_capabilities(self.capabilities)),
            (Layer::NoNewPrivileges, privileges::forbid_new()),
            (Layer::Landlock, files::restrict(&self.reach)),
            (Layer::Seccomp, system_calls::restrict(&self.calls)),
        ];
        let failed = layers.into_iter();
        failed.filter_map(|(layer, result)| Some((layer, result.err()?))).collect()
    }

    /// Tests Landlock and seccomp on a temporary thread. The caller keeps its rights.
    pub fn test(&self) -> Test {
        let calls = || {
            system_calls::restrict(&self.calls).and_then(|()| system_calls::allowed(&self.calls))
        };
        let tested = std::thread::scope(|scope| {
            scope.spawn(|| Test { reach: files::restrict(&self.reach), calls: calls() }).join()
        });
        tested.unwrap_or_else(|_| {
            let failed = || io::Error::other("the test failed");
            Test { reach: Err(failed()), calls: Err(failed()) }
        })
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Capabilities => "capabilities",
            Self::NoNewPrivileges => "no_new_privs",
            Self::Landlock => "Landlock",
            Self::Seccomp => "seccomp",
        })
    }
}
