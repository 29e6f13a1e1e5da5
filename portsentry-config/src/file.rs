//! Reading a file that a person named, and saying what is wrong when that fails.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::snippet::harmless;

/// The largest file that is read, in bytes: 64 MiB, some four million networks.
pub const MAX_FILE_SIZE: u64 = 64 << 20;

/// Why a file could not be read. The message names the file and says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no file of this name.
    #[error("cannot read {}: there is no such file; create it or correct the path", shown(.0))]
    Missing(PathBuf),
    /// This user may not read it.
    #[error(
        "cannot read {}: permission denied; let the user that starts portsentry read the file and \
         enter its directories",
        shown(.0)
    )]
    Forbidden(PathBuf),
    /// It is a directory.
    #[error("cannot read {}: it is a directory; name a file in it", shown(.0))]
    Directory(PathBuf),
    /// It is a pipe, a socket or a disk: reading could wait for ever.
    #[error("cannot read {}: it is not an ordinary file; write the text to one", shown(.0))]
    NotAFile(PathBuf),
    /// It is larger than [`MAX_FILE_SIZE`].
    #[error("cannot read {}: it is larger than 64 MiB; is this the right file?", shown(.0))]
    TooLarge(PathBuf),
    /// The system says something else.
    #[error("cannot read {}: {source}", shown(.path))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl FileError {
    /// The file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Missing(path)
            | Self::Forbidden(path)
            | Self::Directory(path)
            | Self::NotAFile(path)
            | Self::TooLarge(path)
            | Self::Io { path, .. } => path,
        }
    }

    fn of(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(path),
            io::ErrorKind::PermissionDenied => Self::Forbidden(path),
            io::ErrorKind::IsADirectory => Self::Directory(path),
            _ => Self::Io { path, source: error },
        }
    }
}

/// The whole file. A character device is read as one, so that `/dev/null` is an
/// empty file.
///
/// # Errors
///
/// What keeps it from being read, see [`FileError`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    // Asked before opening: to open a pipe is to wait for someone who writes.
    let kind = fs::metadata(path).map_err(|error| FileError::of(path, error))?.file_type();
    if kind.is_dir() {
        return Err(FileError::Directory(path.into()));
    }
    if !kind.is_file() && !kind.is_char_device() {
        return Err(FileError::NotAFile(path.into()));
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes))
        .map_err(|error| FileError::of(path, error))?;
    if bytes.len() as u64 > MAX_FILE_SIZE {
        return Err(FileError::TooLarge(path.into()));
    }
    Ok(bytes)
}

/// A path as messages show it.
pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().map(harmless).collect()
}
