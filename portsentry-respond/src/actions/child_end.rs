//! The end of a child process, as a descriptor to wait for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use portsentry_capture::wake::Wake;
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

/// A descriptor that is readable once a child process has ended.
#[derive(Debug)]
pub(super) enum ChildEnd {
    /// The descriptor of the process (Linux 5.3).
    Process(OwnedFd),
    /// Set by a thread that waits for the process.
    Thread(Arc<Wake>),
}

impl ChildEnd {
    /// Returns a descriptor for the end of the child `pid`, which must not be reaped before this
    /// call returns.
    ///
    /// # Errors
    ///
    /// If the system has no descriptor or thread left.
    pub(super) fn of(pid: Pid) -> io::Result<Self> {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Ok(Self::Process(process)),
            Err(_) => Self::by_thread(pid),
        }
    }

    /// The thread ends with the child. It leaves the child to be reaped by the caller.
    fn by_thread(pid: Pid) -> io::Result<Self> {
        let wake = Arc::new(Wake::new()?);
        let ended = Arc::clone(&wake);
        let wait = move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(pid), options).err() == Some(Errno::INTR) {}
            ended.set();
        };
        std::thread::Builder::new().name("child".to_owned()).stack_size(64 * 1024).spawn(wait)?;
        Ok(Self::Thread(wake))
    }
}

impl AsFd for ChildEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Process(process) => process.as_fd(),
            Self::Thread(wake) => wake.as_fd(),
        }
    }
}
