//! The history file: every probe, one line each, never emptied.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// An open history file.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: File,
    /// A failed write has left a line without its end.
    torn: bool,
}

impl History {
    /// Opens `path` for appending; makes it (mode 0640), and the directories
    /// above it (mode 0755), if they are missing.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut directories = DirBuilder::new();
        directories.recursive(true).mode(0o755);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            directories.create(parent)?;
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path)?;
        Ok(Self { path: path.to_owned(), file, torn: false })
    }

    /// A history that someone else has opened for appending.
    pub fn opened(path: &Path, file: File) -> Self {
        Self { path: path.to_owned(), file, torn: false }
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends whole lines in as few writes as the system allows. After a
    /// failure, what comes next starts on a line of its own.
    pub fn append(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = lines;
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    self.torn = rest[written - 1] != b'\n';
                    rest = &rest[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl PartialEq for History {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

#[cfg(test)]
impl Eq for History {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_made_and_nothing_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/history");
        for line in ["one\n", "two\n"] {
            History::open(&path).unwrap().append(line.as_bytes()).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one\ntwo\n");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut history = History::open(Path::new("/dev/full")).unwrap();
        let error = history.append(b"line\n").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
}
