//! Reading of files that people name, with errors for people.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::snippet::harmless;

/// Maximum size of a file, in bytes: 64 MiB, about four million networks.
pub const MAX_FILE_SIZE: u64 = 64 << 20;

/// Why a file could not be read. The message names the file and the remedy.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FileError {
    /// The file does not exist.
    #[error("cannot read {}: it does not exist; create it or correct the path", shown(.0))]
    Missing(PathBuf),
    /// This user may not read the file.
    #[error(
        "cannot read {}: permission denied; give the user that starts portsentry access to the file \
         and its directories",
        shown(.0)
    )]
    Forbidden(PathBuf),
    /// The path is a directory.
    #[error("cannot read {}: it is a directory; write the path of a file", shown(.0))]
    Directory(PathBuf),
    /// The path is a pipe, a socket or a block device, from which reading could block for
    /// ever.
    #[error("cannot read {}: it is not a regular file; write the path of one", shown(.0))]
    NotAFile(PathBuf),
    /// The file is larger than [`MAX_FILE_SIZE`].
    #[error("cannot read {}: it is larger than 64 MiB; check that this is the right file", shown(.0))]
    TooLarge(PathBuf),
    /// Another error of the system.
    #[error("cannot read {}: {source}", shown(.path))]
    #[non_exhaustive]
    Io {
        /// The file.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
}

impl FileError {
    /// Returns the file.
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

/// Reads a whole file. Character devices are allowed, so that `/dev/null` is an empty
/// file.
///
/// # Errors
///
/// The reason why the file cannot be read, see [`FileError`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, FileError> {
    // Before opening, because opening a pipe waits for a writer.
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

/// Returns a path, with characters that do not print escaped.
pub(crate) fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().map(harmless).collect()
}
