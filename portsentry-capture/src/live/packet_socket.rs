//! What packet sockets need from the kernel beyond the safe interfaces: socket
//! options, and the ring of `packet_mmap` that kernel and process share.
//!
//! This is the one module of the crate with `unsafe`. It makes system calls and
//! lends blocks of the ring; what stands in them is read elsewhere, as bytes
//! that are not trusted.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::{self, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::bpf::Instruction;

/// Has the kernel give packets to `program` before they reach `socket`. One
/// that is attached already is replaced at once: no packet finds none.
pub(super) fn attach_filter(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    set_program(socket, (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER), program)
}

/// Sets the option of this level and name, which takes a program.
fn set_program(
    socket: BorrowedFd<'_>,
    (level, option): (c_int, c_int),
    program: &[Instruction],
) -> io::Result<()> {
    let mut instructions: Vec<libc::sock_filter> = program
        .iter()
        .map(|it| libc::sock_filter {
            code: it.code,
            jt: it.jump_true,
            jf: it.jump_false,
            k: it.operand,
        })
        .collect();
    let program = libc::sock_fprog {
        len: instructions.len().try_into().or(Err(io::ErrorKind::InvalidInput))?,
        filter: instructions.as_mut_ptr(),
    };
    // SAFETY: the pointer in `program` leads to `len` instructions, which live
    // until after the call; the kernel copies them and keeps no pointer.
    unsafe { set_option(socket, level, option, &program) }
}

/// Detaches the filter, so that all packets pass.
#[cfg(any(feature = "pcap", feature = "raw"))]
pub(super) fn detach_filter(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an integer, in which there is no pointer.
    let result = unsafe { set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_i32) };
    match result {
        // None was attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Excludes packets that this host sends (Linux 4.20), before the kernel copies them.
#[cfg(any(feature = "pcap", feature = "raw"))]
pub(super) fn ignore_outgoing(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an integer, in which there is no pointer.
    unsafe { set_option(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32) }
}

/// What the members of a fanout group have in common: a program tells whose a packet
/// is, and outgoing ones are nobody's, since their own settings do not count in it.
#[cfg(feature = "rings")]
const FANOUT: u32 = libc::PACKET_FANOUT_CBPF | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;

/// Joins the fanout group `id`, whose members share what comes in (`packet(7)`,
/// `PACKET_FANOUT`). The socket must be [bound](bind).
#[cfg(feature = "rings")]
pub(super) fn join_fanout(socket: BorrowedFd<'_>, id: u16) -> io::Result<()> {
    let argument = FANOUT << 16 | u32::from(id);
    // SAFETY: an integer, in which there is no pointer.
    unsafe { set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &argument) }
}

/// Founds a fanout group of at most so many members, and gives its id. The socket must
/// be [bound](bind).
///
/// The kernel asks nobody who joins a group for more than `CAP_NET_RAW` and the id, so
/// one that is full keeps others from taking packets away (Linux 5.11).
#[cfg(feature = "rings")]
pub(super) fn create_fanout(socket: BorrowedFd<'_>, members: u16) -> io::Result<u16> {
    let how = FANOUT | libc::PACKET_FANOUT_FLAG_UNIQUEID;
    // The structure has the two halves in the order in which the integer has them.
    let bounded = [how << 16, u32::from(members)];
    // SAFETY: integers, in which there is no pointer.
    let founded = unsafe {
        match set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &bounded) {
            // Older kernels know no bound.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &bounded[0])
            }
            founded => founded,
        }
    };
    founded?;
    let mut joined = 0_u32;
    let mut length = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which `joined` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_FANOUT,
            (&raw mut joined).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(joined as u16) } else { Err(io::Error::last_os_error()) }
}

/// Has `program` choose the member of the socket's fanout group that gets a
/// packet: what it gives, modulo their number. It sees the packet from the
/// network header on.
#[cfg(feature = "rings")]
pub(super) fn set_fanout(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    set_program(socket, (libc::SOL_PACKET, libc::PACKET_FANOUT_DATA), program)
}

/// Begins to receive the packets of all protocols from the interface of
/// this index, or of all interfaces if it is 0.
pub(super) fn bind(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    // SAFETY: all zeros are a value of this structure of integers.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the address can be read for `length` bytes.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Packets that found no room since this was asked before.
pub(super) fn dropped_since_asked(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // A socket without a ring gives less of it.
    let mut counted = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut length = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which `counted` has.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_STATISTICS,
            (&raw mut counted).cast(),
            &raw mut length,
        )
    };
    if result == 0 { Ok(counted.tp_drops) } else { Err(io::Error::last_os_error()) }
}

/// Sets an option whose value is a `T`.
///
/// # Safety
///
/// `T` is what the option takes, and pointers in it lead to what the option says.
unsafe fn set_option<T>(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &T,
) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` can be read for `length` bytes; what is in it is the
    // caller's promise.
    let result = unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const *value).cast(), length)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(feature = "raw")]
pub(super) use ring::RxRing;

#[cfg(feature = "raw")]
mod ring {
    use std::ptr::{self, NonNull};
    use std::slice;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    use super::*;
    use crate::live::block::{FEWEST_BLOCKS, STATUS_OFFSET, block_size};

    /// A ring of blocks (TPACKET_V3). The kernel fills a block with packets,
    /// gives it to this process, and goes on to the next; it touches it no more
    /// until it is given back.
    #[derive(Debug)]
    pub(in crate::live) struct RxRing {
        memory: NonNull<u8>,
        /// Bytes of a block.
        block_size: usize,
        blocks: usize,
        /// The block that the kernel gives out next.
        current: usize,
    }

    // SAFETY: the mapping belongs to this value alone and to no thread.
    unsafe impl Send for RxRing {}

    impl RxRing {
        /// A ring of so many bytes for `socket`, or of the fewest blocks that there can
        /// be, which gives a block out after so many milliseconds if it holds any packet.
        pub(in crate::live) fn new(
            socket: BorrowedFd<'_>,
            bytes: u64,
            milliseconds: u32,
        ) -> io::Result<Self> {
            // Packets are stored one behind the other, so this bounds nothing.
            const FRAME: u32 = 2048;
            let block_size = block_size(bytes, milliseconds);
            let block = block_size as u32;
            let blocks = u32::try_from(bytes / u64::from(block)).unwrap_or(u32::MAX);
            let blocks = blocks.max(FEWEST_BLOCKS);
            let request = libc::tpacket_req3 {
                tp_block_size: block,
                tp_block_nr: blocks,
                tp_frame_size: FRAME,
                tp_frame_nr: (block / FRAME).saturating_mul(blocks),
                tp_retire_blk_tov: milliseconds,
                tp_sizeof_priv: 0,
                tp_feature_req_word: 0,
            };
            let version = libc::tpacket_versions::TPACKET_V3 as c_int;
            // SAFETY: an integer and a structure of integers.
            unsafe {
                set_option(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
                set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
            }
            let blocks = blocks as usize;
            // SAFETY: a new mapping, at a place that the kernel chooses, of as
            // many bytes as the ring was just made with.
            let memory = unsafe {
                let access = ProtFlags::READ | ProtFlags::WRITE;
                mmap(ptr::null_mut(), block_size * blocks, access, MapFlags::SHARED, socket, 0)?
            };
            let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(Self { memory, block_size, blocks, current: 0 })
        }

        /// The block whose turn it is, if the kernel has given it out.
        pub(in crate::live) fn block(&self) -> Option<&[u8]> {
            // Pairs with the kernel's barrier between filling and giving out.
            if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return None;
            }
            // SAFETY: the block lies within the mapping. The kernel has given it
            // out and does not write to it before `release`, which cannot be
            // called while the slice lives.
            Some(unsafe { slice::from_raw_parts(self.start().as_ptr(), self.block_size) })
        }

        /// Gives the block of [`block`](Self::block) back. Without one, nothing
        /// happens.
        pub(in crate::live) fn release(&mut self) {
            if self.block().is_some() {
                self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
                self.current = (self.current + 1) % self.blocks;
            }
        }

        fn start(&self) -> NonNull<u8> {
            // SAFETY: `current` is below `blocks`, and the mapping has as many.
            unsafe { self.memory.add(self.current * self.block_size) }
        }

        /// Where kernel and process tell each other whose the block is.
        fn status(&self) -> &AtomicU32 {
            // SAFETY: within the block and aligned, since blocks begin on pages;
            // the kernel reads and writes it as one word.
            unsafe { AtomicU32::from_ptr(self.start().add(STATUS_OFFSET).cast().as_ptr()) }
        }
    }

    impl Drop for RxRing {
        fn drop(&mut self) {
            // SAFETY: the mapping that `new` made; slices of it cannot live now.
            // It cannot fail for a mapping that there is.
            let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.block_size * self.blocks) };
        }
    }
}
