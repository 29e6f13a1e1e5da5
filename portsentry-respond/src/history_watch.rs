//! Keeps the history file in place for the packet process.
//!
//! When the file is removed, the kernel reports it. The responder then creates the file again and
//! hands it over, because the packet process can no longer open files.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portsentry_report::Notice;
use rustix::fs::inotify;

use crate::store::History;

/// Time between the removal of the file and the attempt to create it again: a program that removes
/// the file may create a new one itself.
const GRACE: Duration = Duration::from_millis(100);

/// Time between two attempts to create the file.
const RETRY: Duration = Duration::from_secs(1);

/// An open history, and the watch on its file.
#[derive(Debug)]
pub(super) struct HistoryWatch {
    path: PathBuf,
    file: File,
    /// `None` if the system has no watch left; a removed file then returns with the next reload.
    watch: Option<OwnedFd>,
    /// When to check the file, with or without an event.
    due: Option<Instant>,
    /// Whether the failure to create the file was reported.
    is_reported: bool,
}

impl HistoryWatch {
    /// Watches `history`.
    pub(super) fn new(history: History) -> Self {
        let (path, file) = history.into_parts();
        let watch = watch(&file);
        if let Err(error) = &watch {
            log::warn!(
                "cannot watch history file {} for removal: {error}; if it is removed, reload portsentry",
                path.display()
            );
        }
        // The file may have been removed before it was watched.
        let due = Some(Instant::now() + GRACE);
        Self { path, file, watch: watch.ok(), due, is_reported: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns a descriptor that is readable when the file has changed.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Returns when to call [`check`](Self::check).
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Handles an event of the watch: schedules a check if the file was removed.
    pub(super) fn mark_changed(&mut self) {
        self.discard_events();
        if self.due.is_none() && self.is_removed() {
            self.due = Some(Instant::now() + GRACE);
        }
    }

    /// Creates the file again if it was removed. Returns whether the file is a new one.
    pub(super) fn check(&mut self, notify: &mut dyn FnMut(Notice)) -> bool {
        self.due = None;
        if !self.is_removed() {
            return false;
        }
        let path = self.path.display().to_string();
        match History::open_file(&self.path) {
            Ok(file) => {
                notify(Notice::HistoryCreated { path });
                self.watch = watch(&file).ok();
                (self.file, self.is_reported) = (file, false);
                true
            }
            Err(error) => {
                if !self.is_reported {
                    notify(Notice::HistoryMissing { path, why: error.to_string() });
                }
                self.is_reported = true;
                self.due = Some(Instant::now() + RETRY);
                false
            }
        }
    }

    fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.nlink() == 0)
    }

    /// Discards the events; each of them only means that the file has changed.
    fn discard_events(&self) {
        if let Some(watch) = &self.watch {
            let mut events = [0; 4096];
            while rustix::io::read(watch, &mut events).is_ok_and(|count| count > 0) {}
        }
    }
}

/// Watches attributes, since the link count is one of them.
fn watch(file: &File) -> io::Result<OwnedFd> {
    let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
    let watch = inotify::init(flags)?;
    let opened = format!("/proc/self/fd/{}", file.as_raw_fd());
    let events = inotify::WatchFlags::ATTRIB | inotify::WatchFlags::DELETE_SELF;
    inotify::add_watch(&watch, opened, events)?;
    Ok(watch)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use portsentry_capture::reactor::{Interest, wait};

    use super::*;

    fn kept() -> (tempfile::TempDir, HistoryWatch) {
        let folder = tempfile::tempdir().unwrap();
        let history = History::open(&folder.path().join("logs/history")).unwrap();
        let mut kept = HistoryWatch::new(history);
        assert!(!kept.check(&mut |_| {}));
        (folder, kept)
    }

    #[track_caller]
    fn await_news(kept: &HistoryWatch) {
        let news = Some(Interest::readable(kept.descriptor().unwrap()));
        assert_eq!(wait([news], Some(Duration::from_secs(10))).unwrap(), [true]);
    }

    #[test]
    fn a_removed_file_is_created_again_each_time() {
        let (folder, mut kept) = kept();
        for _ in 0..3 {
            fs::remove_dir_all(folder.path().join("logs")).unwrap();
            await_news(&kept);
            kept.mark_changed();
            assert!(kept.due().is_some() && kept.check(&mut |_| {}));
            assert!(!kept.check(&mut |_| {}));
            assert!(kept.path().exists());
        }
    }

    #[test]
    fn a_renamed_one_stays() {
        let (folder, mut kept) = kept();
        fs::rename(kept.path(), folder.path().join("history.1")).unwrap();
        kept.mark_changed();
        assert_eq!(
            (kept.due(), kept.check(&mut |_| {}), kept.path().exists()),
            (None, false, false)
        );
    }

    #[test]
    fn a_path_that_is_no_file_is_retried_until_it_is_gone() {
        let (_folder, mut kept) = kept();
        fs::remove_file(kept.path()).unwrap();
        symlink("/dev/null", kept.path()).unwrap();
        assert!(!kept.check(&mut |_| {}));
        assert!(kept.due().is_some());
        fs::remove_file(kept.path()).unwrap();
        assert!(kept.check(&mut |_| {}));
        assert_eq!(kept.due(), None);
    }
}
