//! The history that the packet process writes, kept in its place.
//!
//! When the file is removed, the kernel says so; it is begun again, and handed
//! over. The packet process could not: it may open nothing any more.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use portsentry_report::Notice;
use rustix::fs::inotify;

use crate::store::History;

/// How long until a file that was removed is begun again: whoever removes it may
/// have more to remove, or a new one to put there.
const GRACE: Duration = Duration::from_millis(100);

/// How long until one that could not be begun again is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// An open history, and word of what becomes of it.
#[derive(Debug)]
pub(super) struct HistoryWatch {
    path: PathBuf,
    file: File,
    /// `None` where the system gives no word; then the next reload mends it.
    watch: Option<OwnedFd>,
    /// When it is to be looked at, whether or not anything is told.
    due: Option<Instant>,
    /// Whether it was said that it cannot be begun again.
    is_reported: bool,
}

impl HistoryWatch {
    /// Watches `history`.
    pub(super) fn new(history: History) -> Self {
        let (path, file) = history.into_parts();
        let watch = watch(&file);
        if let Err(error) = &watch {
            log::warn!("cannot see whether {} is removed: {error}", path.display());
        }
        // It may have been removed before it was watched.
        let due = Some(Instant::now() + GRACE);
        Self { path, file, watch: watch.ok(), due, is_reported: false }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Readable when something has become of the file.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// When [`check`](Self::check) wants to be called.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Something is told of the file: it is looked at once that may be over.
    pub(super) fn mark_changed(&mut self) {
        self.forget_news();
        if self.due.is_none() && self.is_removed() {
            self.due = Some(Instant::now() + GRACE);
        }
    }

    /// Begins the file again if it was removed; gives whether it is another now.
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

    /// What is told is only that there is something to look at.
    fn forget_news(&self) {
        if let Some(watch) = &self.watch {
            let mut news = [0; 4096];
            while rustix::io::read(watch, &mut news).is_ok_and(|count| count > 0) {}
        }
    }
}

/// The link count is one of the attributes.
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
    fn a_removed_file_is_begun_again_each_time() {
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
    fn what_is_no_file_is_waited_for_to_go_away() {
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
