//! The unsafe system call for the start of programs.
#![allow(unsafe_code)]

use std::io;

/// Marks every descriptor of this process except the standard three as closed on `exec`, so that no
/// started program inherits one. Some libraries open descriptors without that mark. One system call
/// (Linux 5.11).
pub(super) fn keep_descriptors_from_children() -> io::Result<()> {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the call takes three numbers and touches no memory. It closes
    // nothing in this process; it only sets a flag on descriptors.
    let result = unsafe {
        libc::close_range(FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
