//! Start of the responder, from both sides.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use portsentry_report::Notice;
use rustix::net::{SendFlags, SocketType, sockopt};

use crate::channel;
use crate::error::ServerError;
use crate::protocol::{MAX_TEXT, Message};

/// Time that running responses have after the packet process asked the responder to exit. Their
/// commands then have one more second to end.
pub(crate) const LAST_RESPONSES: Duration = Duration::from_secs(4);

/// Set in the environment of the responder. A user who sets it by hand gets an error.
const VARIABLE: &str = "PORTSENTRY_RESPONDER";

/// Returns whether this process was started as the responder.
pub fn is_called() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// Returns the signals that service managers and terminals send to both processes.
pub(crate) fn signals_for_both() -> SigSet {
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM].into_iter().collect()
}

/// Starts `command` as the responder. Returns it with this side of the channel.
pub(crate) fn spawn(mut command: Command) -> io::Result<(Child, OwnedFd)> {
    let (ours, theirs) = channel::pair()?;
    // These signals remain blocked in the responder until it can handle them.
    let held = signals_for_both().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let child = command
        .env(VARIABLE, "1")
        .stdin(theirs)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    held.thread_set_mask()?;
    Ok((child?, ours))
}

/// Sends replies to the packet process, from any thread.
#[derive(Clone, Debug)]
pub struct ReplySender(Arc<OwnedFd>);

impl ReplySender {
    /// Takes over standard input, which is the channel to the packet process. Standard
    /// input is empty afterwards.
    ///
    /// # Errors
    ///
    /// [`ServerError::NotStarted`] if standard input is no such channel.
    pub fn from_stdin() -> Result<Self, ServerError> {
        let input = io::stdin();
        if !sockopt::socket_type(&input).is_ok_and(|kind| kind == SocketType::SEQPACKET) {
            return Err(ServerError::NotStarted { variable: VARIABLE });
        }
        let take_over = || {
            let socket = input.as_fd().try_clone_to_owned()?;
            rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
            Ok::<_, io::Error>(Self(Arc::new(socket)))
        };
        take_over().map_err(ServerError::system("cannot start the responder"))
    }

    /// Sends a notice for the log. Texts that are longer than a message are cut.
    pub fn notify(&self, notice: Notice) {
        self.send(&Message::Notice(notice));
    }

    pub(crate) fn socket(&self) -> &Arc<OwnedFd> {
        &self.0
    }

    /// Sends one message, and waits for room. Does nothing if the packet process has ended.
    pub(crate) fn send(&self, message: &Message) {
        let _ = channel::send(self.0.as_fd(), &message.encode(), None, SendFlags::empty());
    }

    pub(crate) fn send_in_parts(&self, bytes: &[u8], message: impl Fn(Vec<u8>) -> Message) {
        for part in bytes.chunks(MAX_TEXT) {
            self.send(&message(part.to_vec()));
        }
    }
}
