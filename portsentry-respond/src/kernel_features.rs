//! The features of newer kernels that responses can do without.

use portsentry_capture::MissingFeature;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::actions::descriptors;

/// Returns the features that this kernel lacks, found by trials without an effect.
pub fn missing_response_features() -> Vec<MissingFeature> {
    [
        MissingFeature::unless(
            pidfd_open(getpid(), PidfdFlags::empty()).is_ok(),
            "pidfd_open",
            "5.3",
            "a thread waits for the end of each command",
        ),
        MissingFeature::unless(
            descriptors::mark_none().is_ok(),
            "close_range with CLOSE_RANGE_CLOEXEC",
            "5.11",
            "open files are marked one by one before each command",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}
