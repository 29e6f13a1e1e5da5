//! The unsafe system calls for the start of programs.
#![allow(unsafe_code)]

use std::fs;
use std::io;

use rustix::process::{Resource, getrlimit};

/// The first descriptor after the standard three.
const FIRST: libc::c_uint = 3;

/// Highest number of descriptors that are marked one by one, if `/proc` is not mounted. The kernel
/// assigns the lowest free number, and the responder needs far fewer.
const MOST: u64 = 1 << 16;

/// Marks every descriptor of this process except the standard three as closed on `exec`, so that no
/// started program inherits one. Some libraries open descriptors without that mark.
///
/// One system call, since Linux 5.11. On older kernels, one for each descriptor.
pub(super) fn keep_descriptors_from_children() -> io::Result<()> {
    // Linux 5.9 and 5.10 have the call, but not the flag; some containers forbid the call.
    mark_from(FIRST).or_else(|_| keep_one_by_one(open_descriptors().unwrap_or_else(up_to_limit)))
}

/// Marks no descriptor, to find out whether the kernel has the call and the flag.
pub(crate) fn mark_none() -> io::Result<()> {
    mark_from(libc::c_uint::MAX)
}

/// Marks every descriptor from `first` on.
fn mark_from(first: libc::c_uint) -> io::Result<()> {
    // SAFETY: the call takes three numbers and touches no memory. It closes
    // nothing in this process; it only sets a flag on descriptors.
    let result = unsafe {
        libc::close_range(first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Returns the open descriptors. `None` if the kernel does not list them.
fn open_descriptors() -> Option<Vec<libc::c_int>> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    entries.map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Returns all numbers that a descriptor can have, at most [`MOST`] of them.
fn up_to_limit() -> Vec<libc::c_int> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(MOST).min(MOST);
    (0..i32::try_from(limit).unwrap_or(i32::MAX)).collect()
}

fn keep_one_by_one(descriptors: Vec<libc::c_int>) -> io::Result<()> {
    for descriptor in descriptors.into_iter().filter(|it| it.unsigned_abs() >= FIRST) {
        // SAFETY: the call takes three numbers and touches no memory. It only sets a flag, which
        // every other descriptor of this process has already.
        let result = unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
        if result != 0 {
            let error = io::Error::last_os_error();
            // Another thread has closed it, or the number is free.
            if error.raw_os_error() != Some(libc::EBADF) {
                return Err(error);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsFd;

    use rustix::io::{FdFlags, fcntl_getfd, fcntl_setfd};

    use super::*;

    #[test]
    fn descriptors_are_marked_one_by_one() {
        for descriptors in [open_descriptors as fn() -> Option<Vec<_>>, || Some(up_to_limit())] {
            let file = File::open("/dev/null").unwrap();
            fcntl_setfd(&file, FdFlags::empty()).unwrap();
            keep_one_by_one(descriptors().unwrap()).unwrap();
            assert_eq!(fcntl_getfd(&file), Ok(FdFlags::CLOEXEC));
            for standard in [io::stdin().as_fd(), io::stderr().as_fd()] {
                assert_eq!(fcntl_getfd(standard), Ok(FdFlags::empty()));
            }
        }
    }
}
