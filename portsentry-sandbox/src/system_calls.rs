//! System calls: seccomp.
//!
//! There are two filters. The first allows the calls in the list of the caller. All other
//! calls fail with `ENOSYS`, as on an older kernel, which libraries can handle. The second
//! kills the process if it calls a function that starts a program or a process, reads other
//! processes, or changes the user or the mounts.

use std::io;

use rustix::net::AddressFamily;

/// A group of system calls that a program needs for one purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum CallGroup {
    /// Read, write and wait on open descriptors.
    Io,
    /// Open files and read directories. Landlock restricts which.
    Files,
    /// Use sockets, and create new ones of the families in
    /// [`SystemCalls::families`].
    Sockets,
    /// Allocate memory that is writable or executable, but never both.
    Memory,
    /// Start threads and synchronize them. New processes remain forbidden.
    Threads,
    /// Handle signals, and send one to this process, as `abort(3)` does.
    Signals,
    /// Wait for the exit of child processes.
    Children,
    /// Read clocks, random data, and the identity and limits of the process.
    Environment,
}

/// The system calls that a process can still use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SystemCalls {
    /// Groups of calls. Without [`Io`](CallGroup::Io), [`Memory`](CallGroup::Memory),
    /// [`Threads`](CallGroup::Threads), [`Signals`](CallGroup::Signals) and
    /// [`Environment`](CallGroup::Environment) almost no program runs.
    pub groups: Vec<CallGroup>,
    /// Families of new sockets, with [`Sockets`](CallGroup::Sockets).
    pub families: Vec<AddressFamily>,
}

pub(crate) use filters::{allowed, restrict};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod filters {
    use std::collections::BTreeMap;

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, apply_filter,
    };

    use super::*;

    const IO: &[i64] = &[
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_pread64,
        libc::SYS_preadv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_lseek,
        libc::SYS_close,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_epoll_create1,
        libc::SYS_epoll_ctl,
        libc::SYS_epoll_pwait,
        libc::SYS_epoll_pwait2,
        libc::SYS_eventfd2,
        libc::SYS_pipe2,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_fcntl,
        libc::SYS_ioctl,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_timerfd_create,
        libc::SYS_timerfd_settime,
    ];

    const FILES: &[i64] = &[
        libc::SYS_openat,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        libc::SYS_fstatfs,
        libc::SYS_statfs,
        libc::SYS_faccessat,
        libc::SYS_faccessat2,
        libc::SYS_readlinkat,
        libc::SYS_getdents64,
        libc::SYS_getcwd,
        libc::SYS_chdir,
        libc::SYS_fadvise64,
    ];

    const SOCKETS: &[i64] = &[
        libc::SYS_socketpair,
        libc::SYS_bind,
        libc::SYS_listen,
        libc::SYS_accept4,
        libc::SYS_accept,
        libc::SYS_connect,
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_sendto,
        libc::SYS_sendmsg,
        libc::SYS_sendmmsg,
        libc::SYS_recvfrom,
        libc::SYS_recvmsg,
        libc::SYS_recvmmsg,
        libc::SYS_setsockopt,
        libc::SYS_getsockopt,
        libc::SYS_shutdown,
    ];

    const MEMORY: &[i64] = &[
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_mincore,
        libc::SYS_membarrier,
    ];

    const THREADS: &[i64] = &[
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_get_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_rseq,
        libc::SYS_gettid,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_sched_getparam,
        libc::SYS_sched_getscheduler,
        libc::SYS_getcpu,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_restart_syscall,
    ];

    const SIGNALS: &[i64] = &[
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_sigaltstack,
    ];

    const CHILDREN: &[i64] = &[libc::SYS_wait4, libc::SYS_waitid];

    const ENVIRONMENT: &[i64] = &[
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getgroups,
        libc::SYS_getresuid,
        libc::SYS_getresgid,
        libc::SYS_capget,
        libc::SYS_uname,
        libc::SYS_sysinfo,
        libc::SYS_getrusage,
    ];

    /// Calls of a group under their older names, on processors that still support them.
    #[cfg(target_arch = "x86_64")]
    const fn older(group: CallGroup) -> &'static [i64] {
        match group {
            CallGroup::Io => &[
                libc::SYS_poll,
                libc::SYS_select,
                libc::SYS_epoll_create,
                libc::SYS_epoll_wait,
                libc::SYS_eventfd,
                libc::SYS_pipe,
                libc::SYS_dup2,
            ],
            CallGroup::Files => &[
                libc::SYS_open,
                libc::SYS_stat,
                libc::SYS_lstat,
                libc::SYS_access,
                libc::SYS_readlink,
            ],
            CallGroup::Threads => &[libc::SYS_arch_prctl],
            CallGroup::Environment => &[libc::SYS_time, libc::SYS_setrlimit, libc::SYS_getrlimit],
            _ => &[],
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    const fn older(_: CallGroup) -> &'static [i64] {
        &[]
    }

    const fn current(group: CallGroup) -> &'static [i64] {
        match group {
            CallGroup::Io => IO,
            CallGroup::Files => FILES,
            CallGroup::Sockets => SOCKETS,
            CallGroup::Memory => MEMORY,
            CallGroup::Threads => THREADS,
            CallGroup::Signals => SIGNALS,
            CallGroup::Children => CHILDREN,
            CallGroup::Environment => ENVIRONMENT,
        }
    }

    /// Options of `prctl` that name threads, name memory (used by the allocator) and find
    /// the clock of the kernel.
    const PRCTL: [i32; 3] = [libc::PR_SET_NAME, libc::PR_SET_VMA, PR_GET_AUXV];

    /// Defined in `linux/prctl.h`.
    const PR_GET_AUXV: i32 = 0x4155_5856;

    /// Calls for which the kernel kills the process.
    const DEADLY: &[i64] = &[
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_kexec_load,
        libc::SYS_reboot,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_open_tree,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_setns,
        libc::SYS_unshare,
        libc::SYS_open_by_handle_at,
        libc::SYS_setuid,
        libc::SYS_setgid,
        libc::SYS_setreuid,
        libc::SYS_setregid,
        libc::SYS_setresuid,
        libc::SYS_setresgid,
        libc::SYS_setgroups,
        libc::SYS_setfsuid,
        libc::SYS_setfsgid,
        libc::SYS_capset,
        libc::SYS_personality,
    ];

    #[cfg(target_arch = "x86_64")]
    const DEADLY_OLD: &[i64] = &[libc::SYS_fork, libc::SYS_vfork];
    #[cfg(not(target_arch = "x86_64"))]
    const DEADLY_OLD: &[i64] = &[];

    /// Restricts the calling thread, and the threads that it starts later, to `calls`.
    pub(crate) fn restrict(calls: &SystemCalls) -> io::Result<()> {
        // The first filter must allow the second to be applied.
        let programs = [compile_deadly(), compile_allowed(calls)];
        let [deadly, allowed] = programs.map(|program| program.map_err(io::Error::other));
        let (deadly, allowed) = (deadly?, allowed?);
        apply_filter(&deadly).map_err(io::Error::other)?;
        apply_filter(&allowed).map_err(io::Error::other)
    }

    /// Returns the number of system calls that `calls` allows.
    pub(crate) fn allowed(calls: &SystemCalls) -> io::Result<usize> {
        rules(calls).map(|rules| rules.len()).map_err(io::Error::other)
    }

    fn compile_allowed(calls: &SystemCalls) -> Result<BpfProgram, seccompiler::BackendError> {
        let otherwise = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        compile(rules(calls)?, otherwise, SeccompAction::Allow)
    }

    fn compile_deadly() -> Result<BpfProgram, seccompiler::BackendError> {
        let mut rules: Rules =
            DEADLY.iter().chain(DEADLY_OLD).map(|call| (*call, Vec::new())).collect();
        // `clone` without CLONE_THREAD starts a process, not a thread.
        let process = SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64);
        rules.insert(libc::SYS_clone, vec![rule(0, process, 0)?]);
        compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
    }

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    fn rules(calls: &SystemCalls) -> Result<Rules, seccompiler::BackendError> {
        let mut rules = Rules::new();
        for group in &calls.groups {
            let whole = current(*group).iter().chain(older(*group));
            rules.extend(whole.map(|call| (*call, Vec::new())));
            insert_conditions(&mut rules, *group, &calls.families)?;
        }
        Ok(rules)
    }

    /// Adds the calls of `group` that are allowed only with some arguments.
    fn insert_conditions(
        rules: &mut Rules,
        group: CallGroup,
        families: &[AddressFamily],
    ) -> Result<(), seccompiler::BackendError> {
        let equal = |argument, values: &[i32]| -> Result<Vec<SeccompRule>, _> {
            values.iter().map(|it| rule(argument, SeccompCmpOp::Eq, *it as u64)).collect()
        };
        match group {
            // A rule without conditions would allow every argument.
            CallGroup::Sockets if !families.is_empty() => {
                let families: Vec<i32> =
                    families.iter().map(|family| i32::from(family.as_raw())).collect();
                rules.insert(libc::SYS_socket, equal(0, &families)?);
            }
            CallGroup::Memory => {
                // Memory is writable or executable, neither both nor one after the other.
                let without = |bit: i32| rule(2, SeccompCmpOp::MaskedEq(bit as u64), 0);
                let either = vec![without(libc::PROT_WRITE)?, without(libc::PROT_EXEC)?];
                rules.insert(libc::SYS_mmap, either);
                rules.insert(libc::SYS_mprotect, vec![without(libc::PROT_EXEC)?]);
            }
            CallGroup::Threads => {
                let thread = libc::CLONE_THREAD as u64;
                let threads = rule(0, SeccompCmpOp::MaskedEq(thread), thread)?;
                rules.insert(libc::SYS_clone, vec![threads]);
                rules.insert(libc::SYS_prctl, equal(0, &PRCTL)?);
            }
            CallGroup::Signals => {
                // Only to this process, as abort(3) does.
                let own = i32::try_from(std::process::id()).unwrap_or(0);
                rules.insert(libc::SYS_tgkill, equal(0, &[own])?);
            }
            CallGroup::Environment => {
                // Only the limits of this process.
                rules.insert(libc::SYS_prlimit64, equal(0, &[0])?);
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns a condition on the lower 32 bits of an argument.
    fn rule(
        argument: u8,
        operator: SeccompCmpOp,
        value: u64,
    ) -> Result<SeccompRule, seccompiler::BackendError> {
        let length = SeccompCmpArgLen::Dword;
        let value = value & u64::from(u32::MAX);
        SeccompRule::new(vec![SeccompCondition::new(argument, length, operator, value)?])
    }

    fn compile(
        rules: Rules,
        otherwise: SeccompAction,
        listed: SeccompAction,
    ) -> Result<BpfProgram, seccompiler::BackendError> {
        let architecture = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, otherwise, listed, architecture)?.try_into()
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod filters {
    use super::*;

    /// Fails, because there is no list of calls for this kind of processor.
    pub(crate) fn restrict(_: &SystemCalls) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Fails like [`restrict`].
    pub(crate) fn allowed(_: &SystemCalls) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
