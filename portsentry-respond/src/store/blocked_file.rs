//! The blocked hosts on disk: the permissions of the file, and its consistency.
//!
//! A host is appended and the file is synchronised before the outcome of the response is returned.
//! The record is therefore on disk before the event with `blocked: [true]` is logged.
//! [`blocked_record`](super::blocked_record) defines the format.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::process::geteuid;

use super::blocked_record::{OddRecord, Restored, encode_records};

/// First bytes of a blocked file of portsentry 1.x.
const OLD_TEXT: &[u8] = b"Host: ";

/// An open blocked file.
#[derive(Debug)]
pub struct BlockedFile {
    path: PathBuf,
    file: File,
}

/// Reason for which the file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockedFileError {
    /// A link, or not a regular file.
    #[error("blocked file {}: a symbolic link or not a regular file; portsentry does not follow it. Remove it, or set BLOCKED_FILE to another path.", .0.display())]
    NotRegular(PathBuf),
    /// Another user can write to the file or replace it.
    #[error("blocked file {}: {who} could change it. Remove it, or set BLOCKED_FILE to a path that only this user can write, such as /run/portsentry/portsentry.blocked.", path.display())]
    Untrusted {
        /// The file.
        path: PathBuf,
        /// The user or group that can.
        who: &'static str,
    },
    /// The file contains bytes that are not a record.
    #[error("blocked file {}: invalid record at byte {offset}, after {records} valid ones. The file was not changed; move it away to start with an empty one.", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// End of the last valid record, in bytes.
        offset: usize,
        /// Number of valid records before it.
        records: usize,
    },
    /// The file contains lines of text from portsentry 1.x.
    #[error("blocked file {}: contains text lines of portsentry 1.x instead of binary records. The file was not changed; move it away to start with an empty one.", .0.display())]
    OldText(PathBuf),
    /// The system refused.
    #[error("cannot open the blocked file {}: {source}\nMake it writable for this user, or change BLOCKED_FILE in the configuration.", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
}

impl BlockedFile {
    /// Opens the file at `path` and reads it. Creates the file (mode 0600) and the directories
    /// above it, if missing. Removes an unfinished last record.
    ///
    /// # Errors
    ///
    /// If it is a link, if another user could have written to it, or if it contains bytes that are
    /// not a record. The file is then not changed.
    pub fn open(path: &Path) -> Result<(Self, Restored), BlockedFileError> {
        let io_error = |source| BlockedFileError::Io { path: path.to_owned(), source };
        let folder = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(io_error)?;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(flags.bits().cast_signed())
            .open(path)
            .map_err(|error| {
                match error.raw_os_error().map(rustix::io::Errno::from_raw_os_error) {
                    Some(rustix::io::Errno::LOOP) => BlockedFileError::NotRegular(path.to_owned()),
                    _ => io_error(error),
                }
            })?;
        check_trust(path, folder, &file)?;

        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io_error)?;
        if bytes.starts_with(OLD_TEXT) {
            return Err(BlockedFileError::OldText(path.to_owned()));
        }
        let length = bytes.len();
        let restored = Restored::read(bytes).map_err(|OddRecord { records, offset }| {
            BlockedFileError::Damaged { path: path.to_owned(), offset, records }
        })?;
        if restored.torn > 0 {
            file.set_len((length - restored.torn) as u64).map_err(io_error)?;
        }
        Ok((Self { path: path.to_owned(), file }, restored))
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends `host`; returns once the record is on disk.
    ///
    /// # Errors
    ///
    /// If the system refuses. A partly written record is removed.
    pub fn append(&mut self, host: IpAddr) -> io::Result<()> {
        let record = encode_records(&[host]);
        // Read each time: after a reload, an older handle may have appended as well.
        let length = self.file.metadata()?.len();
        let written = self.file.write_all(&record).and_then(|()| self.file.sync_data());
        if written.is_err() {
            self.file.set_len(length)?;
        }
        written
    }
}

/// Checks that only this user and root own the file, can write to it, and can replace it.
fn check_trust(path: &Path, folder: &Path, file: &File) -> Result<(), BlockedFileError> {
    let io_error = |source| BlockedFileError::Io { path: path.to_owned(), source };
    let untrusted = |who| Err(BlockedFileError::Untrusted { path: path.to_owned(), who });
    let trusted = |uid: u32| uid == 0 || uid == geteuid().as_raw();
    let metadata = file.metadata().map_err(io_error)?;
    if !metadata.is_file() {
        return Err(BlockedFileError::NotRegular(path.to_owned()));
    }
    if !trusted(metadata.uid()) {
        return untrusted("another user owns it and");
    }
    if metadata.mode() & 0o022 != 0 {
        return untrusted("it is writable by others, who");
    }
    let folder = folder.metadata().map_err(io_error)?;
    if !trusted(folder.uid()) {
        return untrusted("another user owns its directory and");
    }
    let (writable, sticky) = (folder.mode() & 0o022 != 0, folder.mode() & 0o1000 != 0);
    if writable && !sticky {
        return untrusted("its directory is writable by others, who");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn blocked() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/portsentry.blocked");
        (folder, path)
    }

    #[test]
    fn the_format_is_that_of_the_original() {
        let (_folder, path) = blocked();
        let (mut file, restored) = BlockedFile::open(&path).unwrap();
        assert_eq!(restored, Restored::default());
        file.append("192.0.2.7".parse().unwrap()).unwrap();
        file.append("2001:db8::7".parse().unwrap()).unwrap();
        let expected = [
            &2_u16.to_ne_bytes()[..],
            &[192, 0, 2, 7],
            &10_u16.to_ne_bytes(),
            &[0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7],
        ]
        .concat();
        assert_eq!(fs::read(&path).unwrap(), expected);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    proptest! {
        #[test]
        fn a_file_cut_anywhere_keeps_its_whole_records(
            hosts in prop::collection::vec(any::<IpAddr>(), 1..20),
            cut in any::<prop::sample::Index>(),
        ) {
            let (_folder, path) = blocked();
            let (mut file, _) = BlockedFile::open(&path).unwrap();
            for host in &hosts {
                file.append(*host).unwrap();
            }
            let bytes = fs::read(&path).unwrap();
            let cut = cut.index(bytes.len() + 1);
            fs::write(&path, &bytes[..cut]).unwrap();

            let (mut file, restored) = BlockedFile::open(&path).unwrap();
            let mut whole = 0;
            let mut kept = Vec::new();
            for host in &hosts {
                let size = if host.is_ipv4() { 6 } else { 18 };
                if whole + size > cut {
                    break;
                }
                whole += size;
                kept.push(*host);
            }
            prop_assert!(restored.hosts.iter().eq(kept.iter().copied()));
            prop_assert_eq!(restored.hosts.len(), kept.len());
            prop_assert_eq!(restored.torn, cut - whole);
            // A record that is appended afterwards is read back as well.
            file.append(hosts[0]).unwrap();
            kept.push(hosts[0]);
            let restored = BlockedFile::open(&path).unwrap().1;
            prop_assert!(restored.hosts.iter().eq(kept.iter().copied()));
            prop_assert_eq!((restored.hosts.len(), restored.torn), (kept.len(), 0));
        }
    }

    #[test]
    fn an_invalid_record_is_an_error_and_loses_nothing() {
        let (_folder, path) = blocked();
        let (mut file, _) = BlockedFile::open(&path).unwrap();
        file.append("192.0.2.7".parse().unwrap()).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes.extend_from_slice(&[0xff, 0xff, 1, 2, 3, 4, 5, 6]);
        fs::write(&path, &bytes).unwrap();
        let error = BlockedFile::open(&path).unwrap_err();
        assert!(
            matches!(error, BlockedFileError::Damaged { offset: 6, records: 1, .. }),
            "{error}"
        );
        assert_eq!(fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn text_of_portsentry_1_is_refused_and_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("portsentry.blocked.atcp");
        let text = b"Host: 192.0.2.1/192.0.2.1 Port: 23 TCP Blocked\n";
        fs::write(&path, text).unwrap();
        let error = BlockedFile::open(&path).unwrap_err();
        assert!(matches!(error, BlockedFileError::OldText(_)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), text);
    }

    #[test]
    fn files_that_others_could_change_are_refused() {
        #[track_caller]
        fn refused(path: &Path) {
            assert!(matches!(
                BlockedFile::open(path).unwrap_err(),
                BlockedFileError::Untrusted { .. }
            ));
        }
        let (_folder, path) = blocked();
        BlockedFile::open(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        refused(&path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let run = path.parent().unwrap();
        fs::set_permissions(run, fs::Permissions::from_mode(0o777)).unwrap();
        refused(&path);
        fs::set_permissions(run, fs::Permissions::from_mode(0o1777)).unwrap();
        BlockedFile::open(&path).expect("a sticky directory is allowed");
        if geteuid().is_root() {
            std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
            refused(&path);
        }
    }

    #[test]
    fn links_are_not_followed() {
        let (_folder, path) = blocked();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let victim = path.with_file_name("victim");
        fs::write(&victim, "untouched").unwrap();
        std::os::unix::fs::symlink(&victim, &path).unwrap();
        assert!(matches!(BlockedFile::open(&path), Err(BlockedFileError::NotRegular(_))));
        assert!(matches!(
            BlockedFile::open(path.parent().unwrap()),
            Err(BlockedFileError::Io { .. })
        ));
        assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    }
}
