//! The two calls of bpf(2) that the sender needs: to load a program, and to have the
//! kernel run it over frames.
//!
//! This is the one module here with `unsafe`.
#![allow(unsafe_code, reason = "bpf(2) has no safe interface among the crates in use")]

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// One instruction, as `struct bpf_insn` has it (RFC 9669, section 3).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    /// Both as in memory: destination in the low half on little-endian machines.
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) immediate: i32,
}

/// A program that decides about each frame that comes to an interface.
#[derive(Debug)]
pub(crate) struct XdpProgram(OwnedFd);

/// The head of `union bpf_attr` for `BPF_PROG_LOAD`.
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

/// The head of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
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
    /// The structure ends on eight bytes; the kernel wants zeros here.
    padding: u32,
}

const PROG_LOAD: libc::c_int = 5;
const PROG_TEST_RUN: libc::c_int = 10;
const PROG_TYPE_XDP: u32 = 6;
/// What the program says of a frame is done to it (Linux 5.18).
const LIVE_FRAMES: u32 = 1 << 1;

impl XdpProgram {
    /// Loads it.
    ///
    /// # Errors
    ///
    /// Whatever the kernel says; where its verifier refuses, why, in its words.
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
        // SAFETY: the pointers lead to as many instructions as it says, to a string that
        // ends in zero and to a log of that size; all live until after the call, and the
        // kernel keeps none.
        let result = unsafe { bpf(PROG_LOAD, &request) };
        match result {
            // SAFETY: a descriptor that the kernel just made, and nobody else knows.
            Ok(number) => Ok(Self(unsafe { OwnedFd::from_raw_fd(number) })),
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => {
                let log = String::from_utf8_lossy(&log);
                Err(io::Error::other(log.trim_end_matches('\0').trim_end().to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Has so many copies of `frame` come in, and does with each what the program says,
    /// `batch` at a time. The program may find in a frame what it wrote into another.
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
        // SAFETY: `data_in` can be read for `size_in` bytes, and no other pointer is given.
        unsafe { bpf(PROG_TEST_RUN, &request) }.map(drop)
    }
}

/// # Safety
///
/// `request` is what `command` takes, and pointers in it lead to what it says.
unsafe fn bpf<T>(command: libc::c_int, request: &T) -> io::Result<libc::c_int> {
    // SAFETY: `request` can be read for its size; what is in it is the caller's promise.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *request, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}
