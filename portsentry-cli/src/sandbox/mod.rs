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

use portsentry_core::config::Settings;

pub(crate) use privileges::User;

use crate::failure::Failure;

/// What is to be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sandbox {
    wanted: bool,
    connect: bool,
}

/// A layer, and why it is not, or not wholly, there.
#[derive(Debug)]
struct Lack {
    layer: &'static str,
    why: String,
}

impl Sandbox {
    /// For a sentry that binds the ports (`connect`) or reads packets.
    pub(crate) fn new(connect: bool, settings: &Settings) -> Self {
        Self { wanted: settings.sandbox, connect }
    }

    /// Gives up the rest, and becomes `user` if there is one. The calling thread
    /// must be the only one. What could not be given up is logged.
    ///
    /// # Errors
    ///
    /// If it cannot become the user.
    pub(crate) fn enter(self, user: Option<&User>) -> Result<(), Failure> {
        if !self.wanted {
            if let Some(user) = user {
                privileges::become_user(user, privileges::needed(self.connect))?;
            }
            log::warn!("The packet process keeps all its rights, as SANDBOX = \"0\" says");
            return Ok(());
        }
        if let Some(user) = user {
            privileges::become_user(user, privileges::needed(self.connect))?;
        }
        let mut lacks = Vec::new();
        let mut lack = |layer, result: io::Result<()>| {
            if let Err(error) = result {
                lacks.push(Lack { layer, why: error.to_string() });
            }
        };
        lack("capabilities", privileges::drop_others(privileges::needed(self.connect)));
        lack("no_new_privs", privileges::forbid_new());
        lack("Landlock", files::restrict(self.connect));
        lack("seccomp", calls::restrict());
        if !lacks.is_empty() {
            let list: Vec<String> =
                lacks.iter().map(|Lack { layer, why }| format!("{layer} ({why})")).collect();
            log::warn!("The sandbox is incomplete here, without {}", list.join(", "));
        }
        #[cfg(debug_assertions)]
        trial::carry_out();
        Ok(())
    }
}
