//! Reads tables of the kernel over netlink sockets (RFC 3549).
//!
//! The caller builds the request and decodes the entries. This module reads the messages up to
//! the last one, checks for errors, and repeats a dump during which the table changed. Reads do
//! not wait, because the kernel replies immediately.

mod notifications;
pub(crate) mod rtnetlink;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use netlink_packet_core::{
    DecodeError, ErrorBuffer, NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE,
    NLMSG_ERROR, NLMSG_NOOP, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use nix::sys::socket::setsockopt;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, bind, connect, recv,
    send, socket_with,
};

pub(crate) use notifications::Notifications;

/// Interfaces, addresses and routes. The number of this protocol is 0, which rustix expresses
/// as `None`.
pub(crate) const ROUTE: Option<Protocol> = None;

/// Sockets.
pub(crate) const SOCK_DIAG: Option<Protocol> = Some(rustix::net::netlink::SOCK_DIAG);

/// Packet filters, and the table of connections.
pub(crate) const NETFILTER: Option<Protocol> = Some(rustix::net::netlink::NETFILTER);

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
    collect: impl FnMut(&mut T, u16, &[u8]) -> Result<(), DecodeError>,
) -> io::Result<T>
where
    T: Default + Clone,
    M: NetlinkSerializable,
    NetlinkPayload<M>: From<M>,
{
    let mut table = T::default();
    dump_into(&mut table, protocol, request, collect)?;
    Ok(table)
}

/// Reads a whole table as [`dump`] does, and adds its entries to `found`.
///
/// Since Linux 4.20, the header of the request selects the entries (`NETLINK_GET_STRICT_CHK` in
/// `netlink(7)`).
pub(crate) fn dump_into<T, M>(
    found: &mut T,
    protocol: Option<Protocol>,
    request: M,
    mut collect: impl FnMut(&mut T, u16, &[u8]) -> Result<(), DecodeError>,
) -> io::Result<()>
where
    T: Clone,
    M: NetlinkSerializable,
    NetlinkPayload<M>: From<M>,
{
    let request = serialize(request, NLM_F_REQUEST | NLM_F_DUMP);
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        let mut table = found.clone();
        let outcome = dump_once(protocol, &request, &mut |kind, payload| {
            if let Err(error) = collect(&mut table, kind, payload) {
                log::warn!("skipped an entry of the kernel (netlink message {kind}): {error}");
            }
        })?;
        if outcome == Outcome::Complete || attempts == 0 {
            *found = table;
            return Ok(());
        }
    }
}

/// Reads one entry, with `decode` for the type and the payload of its message.
pub(crate) fn get<T, M>(
    protocol: Option<Protocol>,
    request: M,
    decode: impl Fn(u16, &[u8]) -> T,
) -> io::Result<T>
where
    M: NetlinkSerializable,
    NetlinkPayload<M>: From<M>,
{
    let mut answer = None;
    dump_once(protocol, &serialize(request, NLM_F_REQUEST | NLM_F_ACK), &mut |kind, payload| {
        answer = Some(decode(kind, payload));
    })?;
    answer.ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Reads a whole table that the libraries do not know, by a request of this type and payload.
/// Passes type and payload of each entry to `each`, also of attempts that are repeated because the
/// table changed.
pub(crate) fn dump_raw(
    protocol: Option<Protocol>,
    kind: u16,
    payload: &[u8],
    each: &mut dyn FnMut(u16, &[u8]),
) -> io::Result<()> {
    let request = message(kind, NLM_F_REQUEST | NLM_F_DUMP, payload);
    for _ in 0..ATTEMPTS {
        if dump_once(protocol, &request, each)? == Outcome::Complete {
            break;
        }
    }
    Ok(())
}

/// Returns a message with a header, whose sequence number is 0.
fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    const HEADER: usize = 16;
    let length = u32::try_from(HEADER + payload.len()).unwrap_or_default();
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.resize(HEADER, 0);
    bytes.extend_from_slice(payload);
    bytes
}

/// Returns a socket that receives notifications of `groups`, a mask of the old-style groups
/// (`RTMGRP_*` in `linux/rtnetlink.h`). It does not block. `prepare` sets its options before it
/// receives anything.
pub(crate) fn subscribe(
    protocol: Option<Protocol>,
    groups: u32,
    prepare: impl FnOnce(BorrowedFd<'_>),
) -> io::Result<OwnedFd> {
    let socket = open(protocol, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
    prepare(socket.as_fd());
    bind(&socket, &SocketAddrNetlink::new(0, groups))?;
    Ok(socket)
}

/// The socket option by which the kernel checks the header of a request, and uses it to select
/// entries.
#[derive(Clone, Copy, Debug)]
struct StrictChecks;

nix::setsockopt_impl!(
    StrictChecks,
    libc::SOL_NETLINK,
    libc::NETLINK_GET_STRICT_CHK,
    bool,
    nix::sys::socket::sockopt::SetBool
);

/// Returns whether the kernel selects the entries of a dump by the header of the request.
pub(crate) fn has_strict_checks() -> io::Result<bool> {
    let socket = open(ROUTE, SocketFlags::CLOEXEC)?;
    Ok(setsockopt(&socket, StrictChecks, &true).is_ok())
}

/// Returns a socket that receives messages from the kernel only.
pub(crate) fn connected(protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    let socket = open(protocol, SocketFlags::CLOEXEC)?;
    connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

fn open(protocol: Option<Protocol>, flags: SocketFlags) -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?)
}

fn serialize<M>(request: M, flags: u16) -> Vec<u8>
where
    M: NetlinkSerializable,
    NetlinkPayload<M>: From<M>,
{
    let mut header = NetlinkHeader::default();
    header.flags = flags;
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
    let socket = connected(protocol)?;
    // Older kernels lack the option and return all entries.
    let _ = setsockopt(&socket, StrictChecks, &true);
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
                // Without an error, it acknowledges a request for one entry.
                NLMSG_ERROR => return check_code(message.payload()).map(|()| outcome),
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

/// Returns the address in an attribute: the octets of either family.
pub(crate) fn address(value: &[u8]) -> Result<IpAddr, DecodeError> {
    let v4 = <[u8; 4]>::try_from(value).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(value).map(IpAddr::from));
    address.map_err(|_| DecodeError::from("impossible length of an address"))
}

fn malformed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
