//! The two calls of bpf(2) that the sender needs: one loads a program, one lets the
//! kernel run it over frames.
//!
//! This is the only module of this crate with `unsafe`.
#![allow(unsafe_code, reason = "bpf(2) has no safe interface among the crates in use")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// One instruction, in the layout of `struct bpf_insn` (RFC 9669, section 3).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Both registers in one byte: the destination is the low half on little-endian machines.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// A loaded program that decides about each frame that arrives on an interface.
#[derive(Debug)]
pub(crate) struct XdpProgram(OwnedFd);

/// First fields of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// First fields of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    result: u32,
    size_in: u32,
    size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    context_size_in: u32,
    context_size_out: u32,
    context_in: u64,
    context_out: u64,
    flags: u32,
    cpu: u32,
    batch_size: u32,
    /// Fills the structure to a multiple of eight bytes; the kernel requires zeros here.
    padding: u32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const PROG_TYPE_XDP: u32 = 6;
/// Makes the kernel carry out the program's verdict about each frame (Linux 5.18).
const LIVE_FRAMES: u32 = 1 << 1;

impl XdpProgram {
    /// Loads a program.
    ///
    /// # Errors
    ///
    /// Returns the error of the kernel. If the verifier rejects the program, the error
    /// contains the verifier's log.
    pub(crate) fn load(instructions: &[Instruction]) -> io::Result<Self> {
        let mut log = vec![0_u8; 1 << 16];
        let license = c"BSD";
        let request = Load {
            kind: PROG_TYPE_XDP,
            instruction_count: instructions.len() as u32,
            instructions: instructions.as_ptr() as u64,
            license: license.as_ptr() as u64,
            log_level: 1,
            log_size: log.len() as u32,
            log: log.as_mut_ptr() as u64,
        };
        // SAFETY: `instructions` points to `instruction_count` instructions, `license` to a
        // string that ends in zero, `log` to `log_size` bytes. All of them live until after
        // the call, and the kernel keeps no pointer.
        let result = unsafe { bpf(PROG_LOAD, &request) };
        match result {
            // SAFETY: the kernel has just created this descriptor, and nothing else owns it.
            Ok(number) => Ok(Self(unsafe { OwnedFd::from_raw_fd(number) })),
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                let log = String::from_utf8_lossy(&log);
                Err(io::Error::other(log.trim_end_matches('\0').trim_end().to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Runs the program over `copies` copies of `frame`, as if they arrived, and carries out
    /// its verdicts, `batch` frames at a time. The kernel reuses the buffers of frames, so the
    /// program may find in one frame the bytes that it wrote into another.
    pub(crate) fn run(&self, frame: &[u8], copies: u32, batch: u32) -> io::Result<()> {
        if copies == 0 {
            return Ok(());
        }
        let request = TestRun {
            program: self.0.as_raw_fd().cast_unsigned(),
            size_in: frame.len() as u32,
            data_in: frame.as_ptr() as u64,
            repeat: copies,
            flags: LIVE_FRAMES,
            batch_size: batch,
            ..TestRun::default()
        };
        // SAFETY: `data_in` can be read for `size_in` bytes, and there is no other pointer.
        unsafe { bpf(PROG_TEST_RUN, &request) }.map(drop)
    }
}

/// # Safety
///
/// `request` has the layout that `command` expects, and its pointers are valid for the
/// lengths next to them.
unsafe fn bpf<T>(command: libc::c_int, request: &T) -> io::Result<libc::c_int> {
    // SAFETY: `request` can be read for its size; the caller promises its content.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *request, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
