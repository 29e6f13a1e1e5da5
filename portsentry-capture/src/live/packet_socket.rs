//! System calls for packet sockets that no safe interface offers: socket options, and the ring
//! that kernel and process share (`packet_mmap`).
//!
//! This is the only module of the crate with `unsafe`. It lends blocks of the ring. Other modules
//! read the blocks, as untrusted bytes.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::io;
use std::mem::{self, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};

use super::bpf::Instruction;

/// Attaches `program` as the filter of `socket`. It replaces an attached filter atomically, so
/// that each packet is filtered.
pub(super) fn attach_filter(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    set_program(socket, (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER), program)
}

/// Sets the option of this level and name to a program.
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
    // SAFETY: the pointer in `program` is valid for `len` instructions, which outlive the call.
    // The kernel copies them and keeps no pointer.
    unsafe { set_option(socket, level, option, &program) }
}

/// Detaches the filter, so that all packets pass.
#[cfg(any(feature = "pcap", feature = "raw"))]
pub(super) fn detach_filter(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the value is an integer and contains no pointer.
    let result = unsafe { set_option(socket, libc::SOL_SOCKET, libc::SO_DETACH_FILTER, &0_i32) };
    match result {
        // No filter was attached.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    }
}

/// Excludes packets that this host sends (Linux 4.20), before the kernel copies them.
#[cfg(any(feature = "pcap", feature = "raw"))]
pub(crate) fn ignore_outgoing(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the value is an integer and contains no pointer.
    unsafe { set_option(socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32) }
}

/// Settings of a fanout group: a program selects the member for a packet, and outgoing packets
/// are ignored. In a group, the members' own setting for outgoing packets has no effect.
#[cfg(feature = "rings")]
const FANOUT: u32 = libc::PACKET_FANOUT_CBPF | libc::PACKET_FANOUT_FLAG_IGNORE_OUTGOING;

/// Joins the fanout group `id`, whose members share the received packets (`packet(7)`,
/// `PACKET_FANOUT`). The socket must be [bound](bind).
#[cfg(feature = "rings")]
pub(super) fn join_fanout(socket: BorrowedFd<'_>, id: u16) -> io::Result<()> {
    let argument = FANOUT << 16 | u32::from(id);
    // SAFETY: the value is an integer and contains no pointer.
    unsafe { set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &argument) }
}

/// Creates a fanout group with a maximum number of `members`, and returns its id. The socket
/// must be [bound](bind).
///
/// Any process with `CAP_NET_RAW` that knows the id can join a group and take packets away,
/// unless the group is full (Linux 5.11).
#[cfg(feature = "rings")]
pub(super) fn create_fanout(socket: BorrowedFd<'_>, members: u16) -> io::Result<u16> {
    let how = FANOUT | libc::PACKET_FANOUT_FLAG_UNIQUEID;
    // The fields of the structure have the same order as the halves of the integer.
    let bounded = [how << 16, u32::from(members)];
    // SAFETY: the values are integers and contain no pointer.
    let created = unsafe {
        match set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &bounded) {
            // Older kernels do not support a maximum.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                set_option(socket, libc::SOL_PACKET, libc::PACKET_FANOUT, &bounded[0])
            }
            created => created,
        }
    };
    created?;
    let mut joined = 0_u32;
    let mut length = size_of::<u32>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of `joined`.
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

/// Sets the `program` that selects the member of the socket's fanout group for a packet: its
/// result modulo the number of members. The packet starts at the network header.
#[cfg(feature = "rings")]
pub(super) fn set_fanout(socket: BorrowedFd<'_>, program: &[Instruction]) -> io::Result<()> {
    set_program(socket, (libc::SOL_PACKET, libc::PACKET_FANOUT_DATA), program)
}

/// Starts to receive packets of all protocols on the interface with this index, or on all
/// interfaces if it is 0.
pub(super) fn bind(socket: BorrowedFd<'_>, interface: u32) -> io::Result<()> {
    // SAFETY: all zeros are a valid value of this structure of integers.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = interface.cast_signed();
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: `address` is valid for reads of `length` bytes.
    let result = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the number of packets dropped since the last call, because the buffer was full.
pub(super) fn take_drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    // For a socket without a ring, the kernel writes only a part of it.
    let mut counted = libc::tpacket_stats_v3 { tp_packets: 0, tp_drops: 0, tp_freeze_q_cnt: 0 };
    let mut length = size_of::<libc::tpacket_stats_v3>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, the size of `counted`.
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
/// `T` must be the type of the option, and pointers in it must be valid for the option.
unsafe fn set_option<T>(
    socket: BorrowedFd<'_>,
    level: c_int,
    option: c_int,
    value: &T,
) -> io::Result<()> {
    let length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` is valid for reads of `length` bytes; the caller guarantees its content.
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

    /// A ring of blocks (TPACKET_V3). The kernel fills a block with packets, hands it to this
    /// process, and continues with the next. It does not access the block until it is released.
    #[derive(Debug)]
    pub(in crate::live) struct RxRing {
        memory: NonNull<u8>,
        /// Size of a block, in bytes.
        block_size: usize,
        blocks: usize,
        /// Index of the next block that the kernel hands out.
        current: usize,
    }

    // SAFETY: only this value owns the mapping, which is not bound to a thread.
    unsafe impl Send for RxRing {}

    impl RxRing {
        /// Creates a ring of `bytes` for `socket`, with at least the minimum number of blocks. The
        /// kernel hands out a block with packets after `milliseconds` at the latest.
        pub(in crate::live) fn new(
            socket: BorrowedFd<'_>,
            bytes: u64,
            milliseconds: u32,
        ) -> io::Result<Self> {
            // Packets are stored without gaps, so this size limits nothing.
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
            // SAFETY: the values are an integer and a structure of integers.
            unsafe {
                set_option(socket, libc::SOL_PACKET, libc::PACKET_VERSION, &version)?;
                set_option(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
            }
            let blocks = blocks as usize;
            // SAFETY: a new mapping at an address that the kernel chooses, with the size of the
            // ring.
            let memory = unsafe {
                let access = ProtFlags::READ | ProtFlags::WRITE;
                mmap(ptr::null_mut(), block_size * blocks, access, MapFlags::SHARED, socket, 0)?
            };
            let memory = NonNull::new(memory.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
            Ok(Self { memory, block_size, blocks, current: 0 })
        }

        /// Returns the current block, if the kernel has handed it out.
        pub(in crate::live) fn block(&self) -> Option<&[u8]> {
            // Pairs with the kernel's barrier after filling the block.
            if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
                return None;
            }
            // SAFETY: the block is within the mapping. The kernel has handed it out and does not
            // write to it before `release`, which cannot be called while the slice lives.
            Some(unsafe { slice::from_raw_parts(self.start().as_ptr(), self.block_size) })
        }

        /// Returns the current [`block`](Self::block) to the kernel, if it was handed out.
        pub(in crate::live) fn release(&mut self) {
            if self.block().is_some() {
                self.status().store(libc::TP_STATUS_KERNEL, Ordering::Release);
                self.current = (self.current + 1) % self.blocks;
            }
        }

        fn start(&self) -> NonNull<u8> {
            // SAFETY: `current` is below `blocks`, the number of blocks in the mapping.
            unsafe { self.memory.add(self.current * self.block_size) }
        }

        /// Returns the status word of the current block, which contains its owner.
        fn status(&self) -> &AtomicU32 {
            // SAFETY: the word is within the block and aligned, because blocks start on pages. The
            // kernel reads and writes it as one word.
            unsafe { AtomicU32::from_ptr(self.start().add(STATUS_OFFSET).cast().as_ptr()) }
        }
    }

    impl Drop for RxRing {
        fn drop(&mut self) {
            // SAFETY: `new` created the mapping, and no slice of it can live now. The call cannot
            // fail for an existing mapping.
            let _ = unsafe { munmap(self.memory.as_ptr().cast(), self.block_size * self.blocks) };
        }
    }
}
