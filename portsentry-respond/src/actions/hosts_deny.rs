//! Adds a line to `hosts.deny`, atomically.
//!
//! Every program with TCP wrappers reads the file, so it must never be visible half written: the
//! new text is written to a second file, which then replaces the first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Result of [`add_line`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The line was added.
    Now,
    /// The file contains the line already.
    Before,
}

/// Reason for which a line was not added. The file is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostsDenyError {
    /// A link could lead portsentry to overwrite another file.
    #[error("{} is a symbolic link or not a regular file; portsentry does not follow it", .0.display())]
    NotRegular(PathBuf),
    /// Another user could change the file.
    #[error("{} is writable by others; run `chmod o-w` on it", .0.display())]
    WritableByOthers(PathBuf),
    /// The system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

/// Adds `line` to the file at `path`, unless the file contains the line. A missing file is created
/// with mode 0644. The owner and mode of an existing file are kept.
///
/// Reads and writes the whole file. The caller must not run two calls for one file at the same
/// time.
///
/// # Errors
///
/// If `path` is a link, is writable by others, or cannot be replaced.
pub fn add_line(path: &Path, line: &str) -> Result<Added, HostsDenyError> {
    let io_error = |source| HostsDenyError::Io { path: path.to_owned(), source };
    let (mut text, metadata) = match open(path)? {
        Some(mut file) => {
            let metadata = file.metadata().map_err(io_error)?;
            if !metadata.is_file() {
                return Err(HostsDenyError::NotRegular(path.to_owned()));
            }
            if metadata.mode() & 0o002 != 0 {
                return Err(HostsDenyError::WritableByOthers(path.to_owned()));
            }
            let mut text = Vec::new();
            file.read_to_end(&mut text).map_err(io_error)?;
            (text, Some(metadata))
        }
        None => (Vec::new(), None),
    };
    let line = line.trim_end();
    if text.split(|&byte| byte == b'\n').any(|there| there.trim_ascii_end() == line.as_bytes()) {
        return Ok(Added::Before);
    }
    if text.last().is_some_and(|&last| last != b'\n') {
        text.push(b'\n');
    }
    text.extend_from_slice(line.as_bytes());
    text.push(b'\n');
    replace(path, &text, metadata.as_ref()).map_err(io_error)?;
    Ok(Added::Now)
}

fn open(path: &Path) -> Result<Option<File>, HostsDenyError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    match OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            Err(HostsDenyError::NotRegular(path.to_owned()))
        }
        Err(source) => Err(HostsDenyError::Io { path: path.to_owned(), source }),
    }
}

/// Replaces the file by one with `text`, atomically.
fn replace(path: &Path, text: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".portsentry-new");
    let new_path = folder.join(name);
    // Left by an interrupted run; nothing else uses this name.
    match fs::remove_file(&new_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = write_new(&new_path, text, old)
        .and_then(|()| fs::rename(&new_path, path))
        .and_then(|()| File::open(folder)?.sync_all());
    if written.is_err() {
        let _ = fs::remove_file(&new_path);
    }
    written
}

fn write_new(path: &Path, text: &[u8], old: Option<&fs::Metadata>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text)?;
    if let Some(old) = old {
        fchown(&file, Some(old.uid()), Some(old.gid()))?;
    }
    let mode = old.map_or(0o644, |old| old.mode() & 0o7777);
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds `line` to a file with the content `before`.
    #[track_caller]
    fn check(before: Option<&str>, line: &str, added: Added, after: &str) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.deny");
        if let Some(before) = before {
            fs::write(&path, before).unwrap();
        }
        assert_eq!(add_line(&path, line).unwrap(), added);
        assert_eq!(fs::read_to_string(&path).unwrap(), after);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn a_line_is_added_once() {
        check(None, "ALL: 192.0.2.7", Added::Now, "ALL: 192.0.2.7\n");
        check(Some(""), "ALL: 192.0.2.7", Added::Now, "ALL: 192.0.2.7\n");
        check(Some("# deny\n"), "ALL: 192.0.2.7", Added::Now, "# deny\nALL: 192.0.2.7\n");
        check(Some("# no end"), "ALL: 192.0.2.7", Added::Now, "# no end\nALL: 192.0.2.7\n");
        check(Some("ALL: 192.0.2.7\n"), "ALL: 192.0.2.7", Added::Before, "ALL: 192.0.2.7\n");
        check(Some("ALL: 192.0.2.7 \r\n"), "ALL: 192.0.2.7", Added::Before, "ALL: 192.0.2.7 \r\n");
        check(Some("ALL: 192.0.2.7"), "ALL: 192.0.2.7", Added::Before, "ALL: 192.0.2.7");
        let longer = "ALL: 192.0.2.70\n";
        check(Some(longer), "ALL: 192.0.2.7", Added::Now, "ALL: 192.0.2.70\nALL: 192.0.2.7\n");
    }

    #[test]
    fn owner_and_mode_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts.deny");
        fs::write(&path, "# deny\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let before = fs::metadata(&path).unwrap();
        add_line(&path, "ALL: 192.0.2.7").unwrap();
        let after = fs::metadata(&path).unwrap();
        assert_ne!(before.ino(), after.ino());
        assert_eq!(
            (before.mode(), before.uid(), before.gid()),
            (after.mode(), after.uid(), after.gid())
        );
    }

    #[test]
    fn links_and_files_that_others_write_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let victim = folder.path().join("victim");
        fs::write(&victim, "untouched").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(matches!(add_line(&link, "x"), Err(HostsDenyError::NotRegular(_))));
        assert!(matches!(add_line(folder.path(), "x"), Err(HostsDenyError::NotRegular(_))));

        fs::set_permissions(&victim, fs::Permissions::from_mode(0o646)).unwrap();
        assert!(matches!(add_line(&victim, "x"), Err(HostsDenyError::WritableByOthers(_))));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    }
}
