//! What the packet process gives up before it reads a packet.
//!
//! Three layers, each good for something when another fails: the user and the
//! capabilities ([`privileges`]), the files and TCP connections (Landlock,
//! [`files`]), and the system calls (seccomp, [`calls`]). All of it holds for the
//! calling thread and those that it starts, so it is done before there are others.
//! What a kernel or a container does not let be done is said, and the sentry goes
//! on without; only the user is not negotiable.

mod calls;
mod files;
mod privileges;
#[cfg(debug_assertions)]
mod trial;

use std::io;
use std::path::PathBuf;

use portsentry_core::config::Settings;
use rustix::thread::CapabilitySet;

pub(crate) use privileges::User;

use crate::failure::Failure;

/// What is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    wanted: bool,
    connect: bool,
}

impl Sandbox {
    /// For a sentry that binds the ports (`connect`) or reads packets.
    pub(crate) fn new(connect: bool, settings: &Settings) -> Self {
        Self { wanted: settings.sandbox, connect }
    }

    /// Gives up what it does not take to read `files` and to write to what is
    /// open. As far as the system lets it: who replays captures is told nothing of
    /// that.
    pub(crate) fn enter_to_read(self, files: &[PathBuf]) {
        if self.wanted {
            // So that root can read what others own, as ever.
            let _ = privileges::drop_others(CapabilitySet::DAC_READ_SEARCH);
            let _ = privileges::forbid_new();
            let _ = files::restrict(self.connect, files);
            let _ = calls::restrict();
        }
        #[cfg(debug_assertions)]
        trial::carry_out();
    }

    /// What it would be here, in lines of a label and a text. Landlock and seccomp
    /// are tried, on a thread that ends with that.
    pub(crate) fn describe(self, user: Option<&User>) -> Vec<(&'static str, String)> {
        let user = user.map_or_else(|| "the user that starts it".to_owned(), User::to_string);
        let mut lines = vec![("runs as", user)];
        if !self.wanted {
            lines.push(("sandbox", "none, as SANDBOX = \"0\" says".to_owned()));
            return lines;
        }
        let tried = std::thread::scope(|scope| {
            scope.spawn(|| (files::restrict(self.connect, &[]), calls::restrict())).join()
        });
        let or_why = |result: io::Result<()>, text: String| match result {
            Ok(()) => text,
            Err(error) => format!("not in force here: {error}"),
        };
        let (files, calls) = tried.unwrap_or_else(|_| {
            let failed = || Err(io::Error::other("it cannot be tried"));
            (failed(), failed())
        });
        let kept = "CAP_NET_RAW, or with --connect CAP_NET_BIND_SERVICE";
        lines.push(("capabilities", format!("{kept}; no others, and no new ones")));
        let reached = files::present().join(", ");
        lines.push(("files", or_why(files, format!("nothing to write; to read: {reached}"))));
        let number = calls::allowed().unwrap_or(0);
        lines.push(("system calls", or_why(calls, format!("{number} of them"))));
        lines
    }

    /// Gives up the rest, and becomes `user` if there is one. The calling thread
    /// must be the only one. What could not be given up is logged.
    ///
    /// # Errors
    ///
    /// If it cannot become the user.
    pub(crate) fn enter(self, user: Option<&User>) -> Result<(), Failure> {
        if let Some(user) = user {
            privileges::become_user(user, privileges::needed(self.connect))?;
        }
        if self.wanted {
            self.give_up();
        } else {
            log::warn!("The packet process keeps all its rights, as SANDBOX = \"0\" says");
            if user.is_some() {
                // Another user is one without the capabilities of this one.
                let dropped = privileges::drop_others(privileges::needed(self.connect));
                dropped.map_err(Failure::system("cannot give up capabilities"))?;
            }
        }
        #[cfg(debug_assertions)]
        trial::carry_out();
        Ok(())
    }

    fn give_up(self) {
        // In this order: the later ones forbid the earlier.
        let layers = [
            ("capabilities", privileges::drop_others(privileges::needed(self.connect))),
            ("no_new_privs", privileges::forbid_new()),
            ("Landlock", files::restrict(self.connect, &[])),
            ("seccomp", calls::restrict()),
        ];
        let lacks: Vec<String> = layers
            .into_iter()
            .filter_map(|(layer, result)| Some(format!("{layer} ({})", result.err()?)))
            .collect();
        if !lacks.is_empty() {
            log::warn!("The sandbox is incomplete here, without {}", lacks.join(", "));
        }
    }
}
