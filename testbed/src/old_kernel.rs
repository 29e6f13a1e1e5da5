//! A kernel that seems to be older than it is.

use std::collections::BTreeMap;

use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};

/// Numbers of system calls that Linux 4.15 does not have: from 424 on, all processors use the same
/// numbers, and Linux 5.1 added the first of them (`scripts/syscall.tbl` of the kernel). `rseq`
/// (4.18) remains, because glibc aborts if only some threads of a process have it.
const NEW_CALLS: std::ops::RangeInclusive<i64> = 424..=499;

/// `process_madvise`, the last system call of Linux 5.10.
const LAST_OF_V5_10: i64 = 440;

/// Options of sockets that Linux 4.20 added (`linux/if_packet.h`, `linux/netlink.h`): level and
/// number.
const NEW_OPTIONS: [(u64, u64); 2] = [PACKET_IGNORE_OUTGOING, NETLINK_GET_STRICT_CHK];
const PACKET_IGNORE_OUTGOING: (u64, u64) = (263, 23);
const NETLINK_GET_STRICT_CHK: (u64, u64) = (270, 12);

/// The release of Linux that a process seems to run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Linux 4.15: none of the system calls and options of later releases.
    V4_15,
    /// Linux 5.10: only the calls up to `process_madvise`. `close_range` rejects every flag.
    V5_10,
}

impl Release {
    /// All releases.
    pub const ALL: [Self; 2] = [Self::V4_15, Self::V5_10];
}

/// Runs `work` on a thread for which the kernel seems to be `release`, and so for all threads and
/// processes that `work` starts. They cannot gain rights by running a program.
///
/// A seccomp filter answers each system call that the release does not have as that release would.
/// The name of the release, the files in `/proc` and the behaviour of older calls are unchanged.
///
/// # Panics
///
/// Panics if `work` does, or if the filter cannot be applied.
#[track_caller]
pub fn on_old_kernel<T: Send>(release: Release, work: impl FnOnce() -> T + Send) -> T {
    let run = || {
        for filter in filters(release) {
            apply_filter(&filter).expect("a filter for system calls");
        }
        work()
    };
    match std::thread::scope(|scope| scope.spawn(run).join()) {
        Ok(result) => result,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn filters(release: Release) -> Vec<BpfProgram> {
    let missing = NEW_CALLS
        .filter(|call| release == Release::V4_15 || *call > LAST_OF_V5_10)
        .map(|call| (call, Vec::new()))
        .collect();
    if release == Release::V5_10 {
        let close_range = [(libc::SYS_close_range, Vec::new())];
        return vec![compile(missing, Errno::NOSYS), compile(close_range.into(), Errno::INVAL)];
    }
    let options = NEW_OPTIONS.map(|(level, option)| {
        let equal = |argument, value| {
            SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value)
                .expect("a condition")
        };
        SeccompRule::new(vec![equal(1, level), equal(2, option)]).expect("a rule")
    });
    let options = [(libc::SYS_setsockopt, options.into())];
    vec![compile(missing, Errno::NOSYS), compile(options.into(), Errno::NOPROTOOPT)]
}

fn compile(rules: BTreeMap<i64, Vec<SeccompRule>>, answer: Errno) -> BpfProgram {
    let answer = SeccompAction::Errno(answer.raw_os_error().unsigned_abs());
    let architecture = std::env::consts::ARCH.try_into().expect("a known processor");
    SeccompFilter::new(rules, SeccompAction::Allow, answer, architecture)
        .and_then(BpfProgram::try_from)
        .expect("a filter")
}
