//! System calls: seccomp.
//!
//! Two filters. One lists what the packet process uses; everything else
//! does not exist for it (`ENOSYS`), which libraries know how to live with, since
//! that is what an older kernel says. The other lists calls that none of its
//! code makes and that are the next step of whoever has taken it over: to start a
//! program or a process, to look into others, to change user or mounts. Those end
//! the process at once.

use std::io;

pub(super) use filters::{allowed, restrict};

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod filters {
    use std::collections::BTreeMap;

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule, apply_filter,
    };

    use super::*;

    /// Calls that are allowed whatever their arguments.
    const ALLOWED: &[i64] = &[
        // Reading, writing, waiting.
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
        // Files: which ones, Landlock says.
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
        // Sockets: those that there are, and new ones of the families below.
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
        // Memory.
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_mincore,
        libc::SYS_membarrier,
        // Threads, and waiting for each other.
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
        // Signals.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_sigaltstack,
        // The end of the responder.
        libc::SYS_wait4,
        libc::SYS_waitid,
        // Time, chance, and what one is.
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

    /// The same under the names that they had first.
    #[cfg(target_arch = "x86_64")]
    const ALLOWED_OLD: &[i64] = &[
        libc::SYS_open,
        libc::SYS_stat,
        libc::SYS_lstat,
        libc::SYS_access,
        libc::SYS_readlink,
        libc::SYS_poll,
        libc::SYS_select,
        libc::SYS_epoll_create,
        libc::SYS_epoll_wait,
        libc::SYS_eventfd,
        libc::SYS_pipe,
        libc::SYS_dup2,
        libc::SYS_time,
        libc::SYS_setrlimit,
        libc::SYS_getrlimit,
        libc::SYS_arch_prctl,
    ];
    #[cfg(not(target_arch = "x86_64"))]
    const ALLOWED_OLD: &[i64] = &[];

    /// Families of sockets that are used.
    const FAMILIES: [i32; 5] =
        [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK, libc::AF_PACKET];

    /// `prctl` names threads and, by the allocator, memory, and tells where the
    /// kernel's clock is.
    const PRCTL: [i32; 3] = [libc::PR_SET_NAME, libc::PR_SET_VMA, PR_GET_AUXV];

    /// Of `linux/prctl.h`.
    const PR_GET_AUXV: i32 = 0x4155_5856;

    /// Calls that end the process.
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

    /// Leaves this thread, and those that it starts, what is allowed.
    pub(in crate::sandbox) fn restrict() -> io::Result<()> {
        // The first to be applied has to let the second be applied.
        let programs = [compile_deadly(), compile_allowed()];
        let [deadly, allowed] = programs.map(|program| program.map_err(io::Error::other));
        let (deadly, allowed) = (deadly?, allowed?);
        apply_filter(&deadly).map_err(io::Error::other)?;
        apply_filter(&allowed).map_err(io::Error::other)
    }

    /// How many calls are allowed.
    pub(in crate::sandbox) fn allowed() -> io::Result<usize> {
        rules().map(|rules| rules.len()).map_err(io::Error::other)
    }

    fn compile_allowed() -> Result<BpfProgram, seccompiler::BackendError> {
        let otherwise = SeccompAction::Errno(libc::ENOSYS.cast_unsigned());
        compile(rules()?, otherwise, SeccompAction::Allow)
    }

    fn compile_deadly() -> Result<BpfProgram, seccompiler::BackendError> {
        let mut rules: Rules =
            DEADLY.iter().chain(DEADLY_OLD).map(|call| (*call, Vec::new())).collect();
        // A process, not a thread.
        let process = SeccompCmpOp::MaskedEq(libc::CLONE_THREAD as u64);
        rules.insert(libc::SYS_clone, vec![rule(0, process, 0)?]);
        compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
    }

    type Rules = BTreeMap<i64, Vec<SeccompRule>>;

    fn rules() -> Result<Rules, seccompiler::BackendError> {
        let mut rules: Rules =
            ALLOWED.iter().chain(ALLOWED_OLD).map(|call| (*call, Vec::new())).collect();
        let equal = |argument, values: &[i32]| -> Result<Vec<SeccompRule>, _> {
            values.iter().map(|it| rule(argument, SeccompCmpOp::Eq, *it as u64)).collect()
        };
        rules.insert(libc::SYS_socket, equal(0, &FAMILIES)?);
        rules.insert(libc::SYS_prctl, equal(0, &PRCTL)?);
        // The limits of this process, not of others.
        rules.insert(libc::SYS_prlimit64, equal(0, &[0])?);
        // To itself alone, as abort(3) does.
        let own = i32::try_from(std::process::id()).unwrap_or(0);
        rules.insert(libc::SYS_tgkill, equal(0, &[own])?);
        let thread = libc::CLONE_THREAD as u64;
        let threads = rule(0, SeccompCmpOp::MaskedEq(thread), thread)?;
        rules.insert(libc::SYS_clone, vec![threads]);
        // Memory is writable or code, not both and not one after the other.
        let without = |bit: i32| rule(2, SeccompCmpOp::MaskedEq(bit as u64), 0);
        let either = vec![without(libc::PROT_WRITE)?, without(libc::PROT_EXEC)?];
        rules.insert(libc::SYS_mmap, either);
        rules.insert(libc::SYS_mprotect, vec![without(libc::PROT_EXEC)?]);
        Ok(rules)
    }

    /// One condition on an argument, of which the lower 32 bits count.
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

    /// There is no list for this kind of processor.
    pub(in crate::sandbox) fn restrict() -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// As [`restrict`].
    pub(in crate::sandbox) fn allowed() -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
