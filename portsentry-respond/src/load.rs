//! A configuration that the responder is sending.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use rustix::io::Errno;

use crate::error::ClientError;
use crate::protocol::Message;
use crate::store::{Hosts, Restored};

/// Time that the responder has to load a configuration: a blocked file with millions of records, on
/// a slow disk. No packets are read meanwhile.
const LIMIT: Duration = Duration::from_secs(10);

/// Everything that the responder has opened for a configuration.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The hosts in the blocked file.
    pub hosts: Hosts,
    /// Networks that are never responded to.
    pub never_block: Vec<IpNet>,
    /// The history, open for appending.
    pub history: Option<File>,
}

/// Messages about the configuration that was requested last.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// Number of the request.
    pub(crate) number: u32,
    /// End of the time that the responder has.
    pub(crate) until: Option<Instant>,
    /// Files in the order in which the responder read them; the last one may be incomplete.
    pub(crate) files: Vec<ReceivedFile>,
    /// Whether the next content belongs to the last of `files`, and not to a file of an
    /// earlier request.
    is_current: bool,
    blocked: Vec<u8>,
    pub(crate) result: Option<Result<Loaded, ClientError>>,
}

/// A file, complete or in part.
#[derive(Debug)]
pub(crate) struct ReceivedFile {
    path: PathBuf,
    length: u64,
    content: Vec<u8>,
}

impl Load {
    /// Starts a new request.
    pub(crate) fn restart(&mut self) {
        let number = self.number + 1;
        *self = Self { number, until: Some(Instant::now() + LIMIT), ..Self::default() };
    }

    /// Returns the content of a file that is complete.
    pub(crate) fn file(&self, path: &Path) -> Option<&[u8]> {
        let file = self.files.iter().find(|file| file.path == path)?;
        (file.content.len() as u64 == file.length).then_some(&file.content)
    }

    /// Handles a message about a configuration, this one or an earlier one.
    pub(crate) fn take(
        &mut self,
        message: Message,
        descriptor: Option<OwnedFd>,
        never_block: Option<Vec<IpNet>>,
    ) {
        match message {
            Message::File { number, length, path } => {
                self.is_current = number == self.number;
                if self.is_current {
                    let path = OsString::from_vec(path).into();
                    self.files.push(ReceivedFile { path, length, content: Vec::new() });
                }
            }
            Message::Content(bytes) if self.is_current => {
                if let Some(file) = self.files.last_mut() {
                    file.content.extend_from_slice(&bytes);
                }
            }
            Message::Blocked(records) => self.blocked.extend_from_slice(&records),
            Message::Loaded { number, history } => {
                let records = std::mem::take(&mut self.blocked);
                if number == self.number {
                    self.result = Some(loaded(records, history, descriptor, never_block));
                }
            }
            Message::Refused { number, why } => {
                self.blocked.clear();
                if number == self.number || number == 0 {
                    self.result = Some(Err(why.into()));
                }
            }
            _ => {}
        }
    }
}

fn loaded(
    records: Vec<u8>,
    has_history: bool,
    descriptor: Option<OwnedFd>,
    never_block: Option<Vec<IpNet>>,
) -> Result<Loaded, ClientError> {
    if has_history && descriptor.is_none() {
        // The kernel drops a descriptor that exceeds the limit of the process.
        let source = io::Error::from(Errno::MFILE);
        return Err(ClientError::System { what: "cannot receive the history file", source });
    }
    Ok(Loaded {
        hosts: Restored::read(records).unwrap_or_default().hosts,
        never_block: never_block.unwrap_or_default(),
        history: descriptor.map(File::from),
    })
}
