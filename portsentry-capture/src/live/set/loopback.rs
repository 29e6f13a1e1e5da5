//! The interfaces that accept packets to 127.0.0.0/8 from the wire.

use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::Interface;

/// The setting for all interfaces.
const FOR_ALL: &str = "/proc/sys/net/ipv4/conf/all/route_localnet";

/// Reads the settings `route_localnet` of the kernel.
#[derive(Debug)]
pub(super) struct LoopbackRouting {
    /// The setting for all interfaces, open so that it can be read without the right to open
    /// files. `None` if it does not exist.
    for_all: Option<File>,
}

impl LoopbackRouting {
    /// Opens the setting of the network namespace of the calling thread.
    pub(super) fn open() -> Self {
        Self { for_all: File::open(FOR_ALL).ok() }
    }

    /// Returns the indices of the interfaces that accept such packets now. One system call.
    pub(super) fn interfaces(&self, interfaces: &[Interface]) -> Vec<u32> {
        let for_all = self.is_set_for_all();
        let accepting = interfaces.iter().filter(|it| for_all || it.routes_loopback);
        accepting.map(|interface| interface.index).collect()
    }

    fn is_set_for_all(&self) -> bool {
        let mut digit = [0];
        let read = self.for_all.as_ref().map(|file| file.read_at(&mut digit, 0));
        matches!(read, Some(Ok(1))) && digit != *b"0"
    }
}
