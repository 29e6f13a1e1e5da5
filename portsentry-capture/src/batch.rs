//! Reads several messages of a socket with one system call.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{MsgFlags, MultiHeaders, recvmmsg};

/// Maximum number of messages in one call of [`receive`].
pub(crate) const BATCH: usize = 64;

/// Passes the messages that wait to `sink`, at most [`BATCH`], and returns their number. Only
/// the first `LENGTH` bytes of each are read. Never waits.
pub(crate) fn receive<const LENGTH: usize>(
    socket: &OwnedFd,
    sink: &mut dyn FnMut(&[u8]),
) -> io::Result<usize> {
    let mut buffers = [[0; LENGTH]; BATCH];
    let mut parts: Vec<[IoSliceMut<'_>; 1]> =
        buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
    let mut headers = MultiHeaders::<()>::preallocate(BATCH, None);
    let flags = MsgFlags::MSG_DONTWAIT;
    match recvmmsg(socket.as_raw_fd(), &mut headers, parts.iter_mut(), flags, None) {
        Ok(messages) => {
            let mut count = 0;
            for message in messages {
                count += 1;
                message.iovs().for_each(&mut *sink);
            }
            Ok(count)
        }
        Err(nix::Error::EAGAIN | nix::Error::EINTR) => Ok(0),
        Err(error) => Err(error.into()),
    }
}
