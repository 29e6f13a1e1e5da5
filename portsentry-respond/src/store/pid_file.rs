//! The pid file.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// A file with the process's number. When this is dropped, it is removed if it still
/// has that number; before [`keep`](Self::keep), it gets back what was in it.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    line: Vec<u8>,
    /// What was in it: perhaps the number of a sentry that runs.
    before: Option<Vec<u8>>,
}

impl PidFile {
    /// Writes the number `pid`; a file that is there is replaced, a link is not
    /// followed.
    pub(crate) fn create(path: &Path, pid: i32) -> io::Result<Self> {
        let (line, before) = (format!("{pid}\n").into_bytes(), read(path));
        write(path, &line)?;
        Ok(Self { path: path.to_owned(), line, before })
    }

    /// The start has succeeded, and the file is this process's.
    pub(crate) fn keep(&mut self) {
        self.before = None;
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let is_ours = read(&self.path).is_some_and(|content| content == self.line);
        // Someone else may have removed it, and that is as well.
        let _ = match &self.before {
            _ if !is_ours => Ok(()),
            Some(content) => write(&self.path, content),
            None => fs::remove_file(&self.path),
        };
    }
}

/// More than any pid file has.
const LONGEST: u64 = 4096;

/// What stands in a pid file, if there is one.
fn read(path: &Path) -> Option<Vec<u8>> {
    let file = safe().read(true).open(path).ok()?;
    let mut content = Vec::new();
    let is_file = file.metadata().ok()?.is_file();
    is_file.then(|| file.take(LONGEST).read_to_end(&mut content).ok())??;
    Some(content)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    safe().write(true).create(true).truncate(true).mode(0o644).open(path)?.write_all(content)
}

/// Follows no link, and waits for nobody at the other end of a pipe.
fn safe() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}
