//! A command whose duration the test controls: the command reads from a named pipe that
//! the test opens.

use std::fs::{File, OpenOptions};
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::station::Station;

/// The named pipe. Commands with `read x < {dir}/gate` end after [`open`](Self::open).
#[derive(Debug)]
pub(crate) struct Gate {
    path: PathBuf,
}

/// Lets all commands continue as long as it exists.
#[derive(Debug)]
pub(crate) struct Opened {
    _writer: File,
}

impl Gate {
    pub(crate) fn new(station: &Station<'_>) -> Self {
        let path = station.path("gate");
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("pipe");
        Self { path }
    }

    /// Ends every command that waits.
    pub(crate) fn open(&self) -> Opened {
        use std::io::Write;
        let mut writer = OpenOptions::new().read(true).write(true).open(&self.path).expect("open");
        // One line for each reader, and more lines than there are readers.
        writer.write_all(&[b'\n'; 64]).expect("write");
        Opened { _writer: writer }
    }
}
