//! Notifications of changes.

use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::live::bpf::attach_local_route_filter;
use crate::netlink::{self, ROUTE};

/// Groups of `linux/rtnetlink.h`: `RTMGRP_LINK`; addresses, routes and rules of IPv4; addresses,
/// routes and rules of IPv6.
const GROUPS: u32 = 0x1 | 0x10 | 0x40 | 1 << 7 | 0x100 | 0x400 | 1 << 18;

/// Types of messages about a route, and types of routes that define which destinations are local.
const ROUTE_MESSAGES: RangeInclusive<u16> = 24..=25;
const LOCAL_ROUTES: RangeInclusive<u8> = 2..=4;

/// Reports that interfaces, addresses or local routes appeared, disappeared or changed.
///
/// A change of another route is not reported, so a router with all routes of the Internet does
/// not wake the reader.
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
        let socket = netlink::subscribe(ROUTE, GROUPS, |socket| {
            // Without memory for the filter, this process reads and drops the other routes.
            let _ = attach_local_route_filter(socket);
        })?;
        Ok(Self { socket })
    }

    /// Returns whether anything may have changed since the last call. Never blocks.
    ///
    /// # Errors
    ///
    /// If the socket cannot be read any more.
    pub fn changed(&mut self) -> io::Result<bool> {
        let mut changed = false;
        let mut start = [0; NOTIFICATION_START];
        loop {
            match recv(&self.socket, &mut start, RecvFlags::empty()) {
                Ok(_) => changed |= !is_other_route(&start),
                // The kernel dropped notifications, because the socket buffer was full.
                Err(Errno::NOBUFS) => changed = true,
                Err(Errno::AGAIN) => return Ok(changed),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Length of the part of a notification that contains the types of message and route.
const NOTIFICATION_START: usize = 24;

/// Returns whether a notification is about a route that is not local. If the message is shorter,
/// the rest is 0.
fn is_other_route(start: &[u8; NOTIFICATION_START]) -> bool {
    let [_, _, _, _, a, b, .., route_type] = *start;
    ROUTE_MESSAGES.contains(&u16::from_ne_bytes([a, b])) && !LOCAL_ROUTES.contains(&route_type)
}

impl AsFd for InterfaceMonitor {
    /// Returns a descriptor that is readable when something changed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
