//! Notices as bytes.

use portsentry_report::{Level, Notice};

use super::wire::{MAX_TEXT, Malformed, Reader, cut, put_text};

/// Bytes of a path in a notice, at most; the kernel allows 4,096 (`PATH_MAX`).
const MAX_PATH: usize = 4096;

/// Returns the message about `notice`.
pub(super) fn encode(notice: &Notice) -> Vec<u8> {
    let mut bytes = vec![3];
    match notice {
        Notice::HistoryCreated { path } => {
            bytes.push(1);
            put_text(&mut bytes, path);
        }
        Notice::HistoryMissing { path, why } => {
            bytes.push(2);
            put_path(&mut bytes, path);
            put_text(&mut bytes, cut(why, MAX_TEXT - MAX_PATH));
        }
        Notice::RecordTruncated { path, bytes: removed } => {
            bytes.push(3);
            bytes.extend_from_slice(&removed.to_ne_bytes());
            put_text(&mut bytes, path);
        }
        Notice::Message { level, text } => {
            bytes.extend([0, level.number()]);
            put_text(&mut bytes, text);
        }
        other => {
            bytes.extend([0, other.level().number()]);
            put_text(&mut bytes, &other.to_string());
        }
    }
    bytes
}

/// Returns the notice that the remaining bytes encode.
pub(super) fn decode(bytes: &mut Reader<'_>) -> Result<Notice, Malformed> {
    match bytes.byte()? {
        0 => {
            let level = Level::from_number(bytes.byte()?).ok_or(Malformed)?;
            Ok(Notice::Message { level, text: bytes.text()? })
        }
        1 => Ok(Notice::HistoryCreated { path: bytes.text()? }),
        2 => Ok(Notice::HistoryMissing { path: bytes.path()?, why: bytes.text()? }),
        3 => {
            let removed = u64::from_ne_bytes(bytes.array()?);
            Ok(Notice::RecordTruncated { path: bytes.text()?, bytes: removed })
        }
        _ => Err(Malformed),
    }
}

/// Appends the length of a path, and the path.
fn put_path(bytes: &mut Vec<u8>, path: &str) {
    let path = cut(path, MAX_PATH);
    bytes.extend_from_slice(&(path.len() as u16).to_ne_bytes());
    bytes.extend_from_slice(path.as_bytes());
}

impl Reader<'_> {
    fn path(&mut self) -> Result<String, Malformed> {
        let length = usize::from(u16::from_ne_bytes(self.array()?));
        let (path, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        if length > MAX_PATH {
            return Err(Malformed);
        }
        String::from_utf8(path.to_vec()).map_err(|_| Malformed)
    }
}
