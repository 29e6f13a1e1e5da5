//! A place where lines go, and what happens when it does not take them.

use std::io;

/// A writer with the lines that are not written yet.
pub(super) struct Sink<W> {
    name: String,
    pub(super) inner: W,
    pub(super) pending: Vec<u8>,
    /// Lines in `pending`.
    pub(super) lines: u64,
    /// Lines that could not be written since it last worked.
    lost: u64,
}

impl<W> Sink<W> {
    pub(super) fn new(name: impl Into<String>, inner: W) -> Self {
        Self { name: name.into(), inner, pending: Vec::new(), lines: 0, lost: 0 }
    }

    /// Writes what is pending; gives a complaint when the sink begins to fail,
    /// and one that counts the losses when it works again.
    pub(super) fn flush(
        &mut self,
        write: impl FnOnce(&mut W, &[u8]) -> io::Result<()>,
    ) -> Option<String> {
        if self.pending.is_empty() {
            return None;
        }
        let result = write(&mut self.inner, &self.pending);
        self.pending.clear();
        let lines = std::mem::take(&mut self.lines);
        match result {
            Ok(()) if self.lost > 0 => {
                let lost = std::mem::take(&mut self.lost);
                Some(format!("{} works again; {lost} lines were lost", self.name))
            }
            Ok(()) => None,
            Err(error) => {
                let first = self.lost == 0;
                self.lost += lines;
                first.then(|| format!("Cannot write to {}: {error}", self.name))
            }
        }
    }
}
