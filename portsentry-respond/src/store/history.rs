//! The history file: one line per probe, never truncated.
//!
//! A renamed file is still written, as programs that rotate logs expect. A removed file is not,
//! because nobody could read the lines: they wait until the responder has created the file again.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

/// An open history file.
#[derive(Debug)]
pub struct History {
    path: PathBuf,
    file: File,
}

impl History {
    /// Opens `path` for appending. Creates the file (mode 0640) and the directories above it (mode
    /// 0755), if missing.
    ///
    /// # Errors
    ///
    /// If the system refuses, or if it is a link owned by a user other than root and the effective
    /// user.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: open(path)? })
    }

    /// Returns the history of a file that another process has opened for appending.
    pub fn opened(path: &Path, file: File) -> Self {
        Self { path: path.to_owned(), file }
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path and the open file.
    pub(crate) fn into_parts(self) -> (PathBuf, File) {
        (self.path, self.file)
    }

    /// Opens a file in place of a removed history; anything except a regular file is an error.
    pub(crate) fn open_file(path: &Path) -> io::Result<File> {
        let file = open(path)?;
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::other("the path is not a regular file; remove it")),
        }
    }
}

impl Write for History {
    /// Returns [`ErrorKind::WouldBlock`] if the file was removed.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        if self.file.metadata()?.nlink() == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.file.write(lines)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsFd for History {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

fn open(path: &Path) -> io::Result<File> {
    let mut directories = DirBuilder::new();
    directories.recursive(true).mode(0o755);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        directories.create(parent)?;
    }
    let open = |flags: OFlags| {
        // A pipe without a reader is an error; the open does not wait.
        let flags = (flags | OFlags::NONBLOCK).bits().cast_signed();
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o640).custom_flags(flags).open(path)
    };
    let file = open(OFlags::NOFOLLOW).or_else(|error| {
        let Ok(link) = path.symlink_metadata() else { return Err(error) };
        if !link.is_symlink() {
            return Err(error);
        }
        if link.uid() != 0 && link.uid() != geteuid().as_raw() {
            let why = "it is a symbolic link owned by another user; remove it or change its owner to root";
            return Err(io::Error::new(ErrorKind::PermissionDenied, why));
        }
        open(OFlags::empty())
    })?;
    rustix::io::ioctl_fionbio(&file, false)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn history_path() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b/history");
        (folder, path)
    }

    #[track_caller]
    fn check(path: &Path, text: &str) {
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }

    #[test]
    fn directories_are_created_and_nothing_is_truncated() {
        let (_folder, path) = history_path();
        for line in ["one\n", "two\n"] {
            History::open(&path).unwrap().write_all(line.as_bytes()).unwrap();
        }
        check(&path, "one\ntwo\n");
    }

    #[test]
    fn a_full_disk_is_an_error() {
        let mut history = History::open(Path::new("/dev/full")).unwrap();
        let error = history.write_all(b"line\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }

    #[test]
    fn a_renamed_file_is_written_and_a_removed_one_is_not() {
        let (_folder, path) = history_path();
        let mut history = History::open(&path).unwrap();
        history.write_all(b"one\n").unwrap();
        let renamed = path.with_extension("1");
        fs::rename(&path, &renamed).unwrap();
        history.write_all(b"two\n").unwrap();
        check(&renamed, "one\ntwo\n");
        fs::remove_file(&renamed).unwrap();
        let error = history.write_all(b"three\n").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
    }

    #[test]
    fn links_are_followed_only_if_root_or_this_user_owns_them() {
        let (folder, path) = history_path();
        let victim = folder.path().join("victim");
        fs::write(&victim, "").unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(&victim, &path).unwrap();
        History::open(&path).unwrap().write_all(b"ours\n").unwrap();
        check(&victim, "ours\n");
        if !geteuid().is_root() {
            return;
        }
        std::os::unix::fs::lchown(&path, Some(65_534), None).unwrap();
        let error = History::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        check(&victim, "ours\n");
    }

    #[test]
    fn only_a_regular_file_replaces_a_removed_one() {
        let (_folder, path) = history_path();
        fs::create_dir_all(&path).unwrap();
        assert_eq!(History::open_file(&path).unwrap_err().kind(), ErrorKind::IsADirectory);
        fs::remove_dir(&path).unwrap();
        symlink("/dev/null", &path).unwrap();
        assert!(History::open_file(&path).is_err());
        fs::remove_file(&path).unwrap();
        assert!(History::open_file(&path).is_ok());
    }

    #[test]
    fn a_pipe_without_reader_is_an_error() {
        let (folder, path) = history_path();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert!(History::open(&path).is_err());
        drop(folder);
    }
}
