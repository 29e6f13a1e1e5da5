//! Files that the responder maintains: blocked hosts, the history, and the pid file.

mod blocked_file;
mod blocked_record;
mod history;
mod pid_file;

pub use blocked_file::{BlockedFile, BlockedFileError};
pub use blocked_record::{Hosts, OddRecord, Restored, encode_records};
pub use history::History;
pub(crate) use pid_file::PidFile;
