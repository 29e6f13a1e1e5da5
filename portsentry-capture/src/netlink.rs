//! Reads tables of the kernel over netlink sockets (RFC 3549).
//!
//! The caller builds the request and decodes the entries. This module reads the messages up to
//! the last one, checks for errors, and repeats a dump during which the table changed. Reads do
//! not wait, because the kernel replies immediately.

use std::io;
use std::os::fd::OwnedFd;

use netlink_packet_core::{
    DecodeError, ErrorBuffer, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable,
};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv,
    send, socket_with,
};

/// Interfaces, addresses and routes. The number of this protocol is 0, which rustix expresses
/// as `None`.
pub(crate) const ROUTE: Option<Protocol> = None;

/// Sockets.
pub(crate) const SOCK_DIAG: Option<Protocol> = Some(rustix::net::netlink::SOCK_DIAG);

/// Size of the read buffer, in bytes. The kernel writes at most 32 KiB at a time.
const PART: usize = 64 * 1024;

/// Maximum number of attempts for a dump during which the table changes. The result of the last
/// attempt counts; callers that follow the table are notified of the change.
const ATTEMPTS: u32 = 5;

/// Reads a whole table and folds its entries into a `T`.
///
/// `collect` gets the type and the payload of each message. An entry that it cannot decode is
/// logged and skipped, so that a newer kernel does not prevent the use of all other entries.
pub(crate) fn dump<T, M>(
    protocol: Option<Protocol>,
    request: M,
    mut collect: impl FnMut(&mut T, u16, &[u8]) -> Result<(), DecodeError>,
) -> io::Result<T>
where
    T: Default,
    M: NetlinkSerializable,
    NetlinkPayload<M>: From<M>,
{
    let request = serialize(request);
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        let mut table = T::default();
        let outcome = dump_once(protocol, &request, &mut |kind, payload| {
            if let Err(error) = collect(&mut table, kind, payload) {
                log::warn!("skipped an entry of the kernel (netlink message {kind}): {error}");
            }
        })?;
        if outcome == Outcome::Complete || attempts == 0 {
            return Ok(table);
        }
    }
}

/// Returns a socket that receives notifications of `groups`, a mask of the old-style groups
/// (`RTMGRP_*` in `linux/rtnetlink.h`). It does not block.
pub(crate) fn subscribe(protocol: Option<Protocol>, groups: u32) -> io::Result<OwnedFd> {
    let socket = open(protocol, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

fn open(protocol: Option<Protocol>, flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?)
}

fn serialize<M>(request: M) -> Vec<u8>
where
    M: NetlinkSerializable,
    NetlinkPayload<M>: From<M>,
{
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, NetlinkPayload::from(request));
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Complete,
    /// The table changed while it was read (`NLM_F_DUMP_INTR`).
    Interrupted,
}

fn dump_once(
    protocol: Option<Protocol>,
    request: &[u8],
    each: &mut dyn FnMut(u16, &[u8]),
) -> io::Result<Outcome> {
    let socket = open(protocol, SocketFlags::CLOEXEC)?;
    // A connected socket receives messages from the kernel only.
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    send(&socket, request, SendFlags::empty())?;

    let mut buffer = vec![0; PART];
    let mut outcome = Outcome::Complete;
    loop {
        let (_, length) = recv(&socket, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
        let mut part = buffer.get(..length).ok_or_else(|| malformed("part too large"))?;
        while !part.is_empty() {
            let message = NetlinkBuffer::new_checked(part).map_err(malformed)?;
            if message.flags() & NLM_F_DUMP_INTR != 0 {
                outcome = Outcome::Interrupted;
            }
            match message.message_type() {
                NLMSG_DONE => return check_code(message.payload()).map(|()| outcome),
                NLMSG_ERROR => check_code(message.payload())?,
                NLMSG_NOOP => {}
                kind => each(kind, message.payload()),
            }
            let aligned = (message.length() as usize).next_multiple_of(4);
            part = part.get(aligned..).unwrap_or_default();
        }
    }
}

/// Checks the errno at the start of `NLMSG_ERROR` and `NLMSG_DONE`, which is zero or negative.
/// Old kernels end a dump without one.
fn check_code(payload: &[u8]) -> io::Result<()> {
    if payload.is_empty() {
        return Ok(());
    }
    match ErrorBuffer::new_checked(payload).map_err(malformed)?.code() {
        Some(code) => Err(io::Error::from_raw_os_error(code.get().wrapping_neg())),
        None => Ok(()),
    }
}

fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
