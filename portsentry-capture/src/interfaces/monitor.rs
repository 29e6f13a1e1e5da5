//! Notifications of changes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::netlink::{self, ROUTE};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of
/// `linux/rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Reports that interfaces or addresses appeared, disappeared or changed.
///
/// It does not report what changed, because notifications can be lost. Take a snapshot
/// ([`Interface::all`](crate::Interface::all)) instead, which is always complete. Open the
/// monitor before the first snapshot, so that no change is missed.
#[derive(Debug)]
pub struct InterfaceMonitor {
    socket: OwnedFd,
}

impl InterfaceMonitor {
    /// Opens a monitor for the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// If the kernel returns an error. No privilege is needed.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: netlink::subscribe(ROUTE, GROUPS)? })
    }

    /// Returns whether anything may have changed since the last call. Never blocks.
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

impl AsFd for InterfaceMonitor {
    /// Returns a descriptor that is readable when something changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
