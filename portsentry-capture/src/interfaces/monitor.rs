//! Hearing of changes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::netlink::{self, ROUTE};

/// `RTMGRP_LINK`, `RTMGRP_IPV4_IFADDR` and `RTMGRP_IPV6_IFADDR` of
/// `linux/rtnetlink.h`.
const GROUPS: u32 = 0x1 | 0x10 | 0x100;

/// Tells when interfaces or addresses come, go or change.
///
/// What changed is not told: notifications can be lost, a snapshot
/// ([`Interface::all`](crate::Interface::all)) cannot. Open the monitor first
/// and take the snapshot then, so that nothing falls in between.
#[derive(Debug)]
pub struct InterfaceMonitor {
    socket: OwnedFd,
}

impl InterfaceMonitor {
    /// A monitor for the network namespace of the calling thread.
    ///
    /// # Errors
    ///
    /// When the kernel refuses; it needs no privilege.
    pub fn open() -> io::Result<Self> {
        Ok(Self { socket: netlink::subscribe(ROUTE, GROUPS)? })
    }

    /// Whether anything may have changed since the last call. Never blocks.
    ///
    /// # Errors
    ///
    /// When the socket cannot be read any further.
    pub fn changed(&mut self) -> io::Result<bool> {
        let mut changed = false;
        // Only that something came counts, so a byte of it is enough.
        let mut byte = [0];
        loop {
            match recv(&self.socket, &mut byte, RecvFlags::empty()) {
                // The kernel had more to say than the socket could hold.
                Ok(_) | Err(Errno::NOBUFS) => changed = true,
                Err(Errno::AGAIN) => return Ok(changed),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for InterfaceMonitor {
    /// Readable when something changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
