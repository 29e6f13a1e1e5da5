//! Datagrams between the two processes, one per message.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg,
    sendmsg, socketpair,
};

use crate::protocol::MAX_MESSAGE;

/// Creates the two ends of a channel.
pub(super) fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = SocketType::SEQPACKET;
    Ok(socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message, with or without a descriptor. Waits for room unless `flags` contain
/// `DONTWAIT`.
pub(super) fn send(
    socket: BorrowedFd<'_>,
    message: &[u8],
    descriptor: Option<BorrowedFd<'_>>,
    flags: SendFlags,
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = descriptor.map(|it| [it]);
    if let Some(descriptors) = &descriptors {
        ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    }
    let flags = flags | SendFlags::NOSIGNAL;
    retry_on_intr(|| sendmsg(socket, &[IoSlice::new(message)], &mut ancillary, flags))?;
    Ok(())
}

/// A received message.
pub(super) struct Received<'a> {
    /// Bytes of the message; empty if the other end is closed.
    pub(super) message: &'a [u8],
    pub(super) descriptor: Option<OwnedFd>,
}

/// Buffer for received messages.
#[derive(Debug)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    pub(super) fn new() -> Self {
        // One more byte, to detect a message that is too long.
        Self(vec![0; MAX_MESSAGE + 1])
    }

    /// Receives the next message; waits for it unless `flags` contain `DONTWAIT`. A message that is
    /// too long is an error. At most one descriptor is accepted, and only if `wanted`; the kernel
    /// closes all others.
    pub(super) fn receive(
        &mut self,
        socket: BorrowedFd<'_>,
        descriptor_wanted: bool,
        flags: RecvFlags,
    ) -> Result<Received<'_>, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let space = if descriptor_wanted { &mut space[..] } else { &mut [] };
        let mut ancillary = RecvAncillaryBuffer::new(space);
        let flags = flags | RecvFlags::CMSG_CLOEXEC;
        let received = retry_on_intr(|| {
            recvmsg(socket, &mut [IoSliceMut::new(&mut self.0)], &mut ancillary, flags)
        })?;
        let descriptor = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(Errno::MSGSIZE);
        }
        let message = self.0.get(..received.bytes).unwrap_or_default();
        Ok(Received { message, descriptor })
    }
}
