//! Notifications of changed rules.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::netlink::{self, NETFILTER};

/// Mask of the group `NFNLGRP_NFTABLES`, number 7 (`linux/netfilter/nfnetlink.h`).
const GROUPS: u32 = 1 << (7 - 1);

/// Reports that rules of `nf_tables` changed.
///
/// It does not report what changed. Read the rules ([`translations`](crate::translations)) after
/// the monitor was opened, so that no change is missed.
#[derive(Debug)]
pub struct TranslationMonitor {
    socket: OwnedFd,
}

impl TranslationMonitor {
    /// Opens a monitor for the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// If the kernel returns an error: `CAP_NET_ADMIN` is needed.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: netlink::subscribe(NETFILTER, GROUPS, |_| ())? })
    }

    /// Returns whether any rule may have changed since the last call. Never blocks.
    ///
    /// # Errors
    ///
    /// If the socket cannot be read any more.
    pub fn changed(&mut self) -> io::Result<bool> {
        let mut changed = false;
        // One byte is enough, because the content of a notification is not used.
        let mut byte = [0];
        loop {
            match recv(&self.socket, &mut byte, RecvFlags::empty()) {
                // The kernel dropped notifications, because the socket buffer was full.
                Ok(_) | Err(Errno::NOBUFS) => changed = true,
                Err(Errno::AGAIN) => return Ok(changed),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for TranslationMonitor {
    /// Returns a descriptor that is readable when rules changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
