//! Notifications of changes to tables, with their contents.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_packet_core::NetlinkBuffer;
use rustix::io::Errno;
use rustix::net::{Protocol, RecvFlags, recv};

use super::{PART, subscribe};

/// Maximum number of notifications that are read together.
const MOST: usize = 100_000;

/// Notifications of changes to tables.
#[derive(Debug)]
pub(crate) struct Notifications {
    socket: OwnedFd,
    buffer: Vec<u8>,
}

impl Notifications {
    /// Subscribes to `groups`, see [`subscribe`].
    pub(crate) fn subscribe(protocol: Option<Protocol>, groups: u32) -> io::Result<Self> {
        Ok(Self { socket: subscribe(protocol, groups, |_| {})?, buffer: vec![0; PART] })
    }

    /// Passes type, flags and payload of each waiting message to `each`. Returns whether messages
    /// were lost: the socket buffer was full, they cannot be read, or more than 100,000 waited.
    /// Never blocks.
    pub(crate) fn drain(&mut self, mut each: impl FnMut(u16, u16, &[u8])) -> io::Result<bool> {
        let mut lost = false;
        for _ in 0..MOST {
            match recv(&self.socket, self.buffer.as_mut_slice(), RecvFlags::TRUNC) {
                Ok((_, length)) => {
                    let part = self.buffer.get(..length);
                    lost |= !part.is_some_and(|part| split(part, &mut each));
                }
                Err(Errno::NOBUFS) => lost = true,
                Err(Errno::AGAIN) => return Ok(lost),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }
}

impl AsFd for Notifications {
    /// Returns a descriptor that is readable when messages wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Passes type, flags and payload of each message in `part` to `each`. Returns false if `part` is
/// malformed.
fn split(mut part: &[u8], each: &mut dyn FnMut(u16, u16, &[u8])) -> bool {
    while !part.is_empty() {
        let Ok(message) = NetlinkBuffer::new_checked(part) else { return false };
        each(message.message_type(), message.flags(), message.payload());
        let aligned = (message.length() as usize).next_multiple_of(4);
        part = part.get(aligned..).unwrap_or_default();
    }
    true
}
