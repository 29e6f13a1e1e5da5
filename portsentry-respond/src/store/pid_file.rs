//! The pid file.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// A file with a process id. On drop, the file is removed if it still contains that id; before
/// [`keep`](Self::keep), its previous content is restored.
#[derive(Debug)]
pub(crate) struct PidFile {
    path: PathBuf,
    line: Vec<u8>,
    /// Previous content: possibly the process id of a running sentry.
    before: Option<Vec<u8>>,
}

impl PidFile {
    /// Writes the process id `pid`. Replaces an existing file, and does not follow a link.
    pub(crate) fn create(path: &Path, pid: i32) -> io::Result<Self> {
        let (line, before) = (format!("{pid}\n").into_bytes(), read(path));
        write(path, &line)?;
        Ok(Self { path: path.to_owned(), line, before })
    }

    /// Makes the file permanent: the start has succeeded.
    pub(crate) fn keep(&mut self) {
        self.before = None;
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let is_ours = read(&self.path).is_some_and(|content| content == self.line);
        // Another program may have removed the file, so errors are ignored.
        let _ = match &self.before {
            _ if !is_ours => Ok(()),
            Some(content) => write(&self.path, content),
            None => fs::remove_file(&self.path),
        };
    }
}

/// Size limit for a pid file.
const LONGEST: u64 = 4096;

/// Returns the content of a pid file, if there is one.
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

/// Options that follow no link and do not wait for the other end of a pipe.
fn safe() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed());
    options
}
