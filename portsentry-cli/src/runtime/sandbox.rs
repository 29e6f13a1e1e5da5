//! The rights that the packet process keeps.
//!
//! The packet process opens no file that the configuration names; the responder opens them and
//! hands them over. Names and local times are still read from files, and nothing may be written. If
//! a file is replaced in a directory that is not listed here, the new file is out of reach; this
//! affects names only, not probes.
//!
//! A layer that the kernel or a container does not support is logged and skipped; only
//! switching the user must succeed.

#[cfg(debug_assertions)]
mod self_test;

use std::io;
use std::path::{Path, PathBuf};

use portsentry_core::config::Settings;
use portsentry_sandbox::{
    AddressFamily, CallGroup, CapabilitySet, Reach, Sandbox, SystemCalls, User, drop_capabilities,
};

use crate::failure::Failure;

/// Directories and files that the packet process may read.
const READABLE: &[&str] = &[
    // For local times.
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/timezone",
    // For names of hosts, and the libraries that resolve them.
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/ld.so.cache",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/NetworkManager",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    // For the served ports, and the type of an interface.
    "/proc/self",
    "/sys/class/net",
    "/sys/devices",
];

/// Target of standard output and standard error with `-D`.
const NOTHING: &str = "/dev/null";

/// Port of name servers for TCP queries, if an answer does not fit a datagram.
const DNS: u16 = 53;

const CALLS: [CallGroup; 8] = [
    CallGroup::Io,
    CallGroup::Files,
    CallGroup::Sockets,
    CallGroup::Memory,
    CallGroup::Threads,
    CallGroup::Signals,
    // The responder is a child process.
    CallGroup::Children,
    CallGroup::Environment,
];

const FAMILIES: [AddressFamily; 5] = [
    AddressFamily::UNIX,
    AddressFamily::INET,
    AddressFamily::INET6,
    AddressFamily::NETLINK,
    AddressFamily::PACKET,
];

/// Returns the sandbox of a process that binds the ports (`connect`) or reads packets, and that
/// also reads `files`.
fn sandbox(connect: bool, files: &[PathBuf]) -> Sandbox {
    // For the ports of a later configuration, or for captures on interfaces that appear later.
    let capabilities =
        if connect { CapabilitySet::NET_BIND_SERVICE } else { CapabilitySet::NET_RAW };
    let always = READABLE.iter().map(PathBuf::from).chain(zone_file());
    Sandbox {
        capabilities,
        reach: Reach {
            read: always.chain(files.iter().cloned()).collect(),
            write: vec![NOTHING.into()],
            connect_tcp: vec![DNS],
            bind_tcp: connect,
        },
        calls: SystemCalls { groups: CALLS.into(), families: FAMILIES.into() },
    }
}

/// Gives up all rights except those to read `files` and to write to open descriptors. Layers that
/// the system does not support are skipped without a message.
pub(crate) fn enter_to_read(settings: &Settings, files: &[PathBuf]) {
    if settings.sandbox {
        // Root can then read the files of other users, as without a sandbox.
        let capabilities = CapabilitySet::DAC_READ_SEARCH;
        let _ = Sandbox { capabilities, ..sandbox(false, files) }.enter();
    }
    #[cfg(debug_assertions)]
    self_test::run();
}

/// Gives up all rights that watching does not need, and becomes `user` if there is one. The calling
/// thread must be the only one. Layers that are not supported are logged.
///
/// # Errors
///
/// If the process cannot become the user.
pub(crate) fn enter(
    connect: bool,
    settings: &Settings,
    user: Option<&User>,
) -> Result<(), Failure> {
    let sandbox = sandbox(connect, &[]);
    if let Some(user) = user {
        user.become_keeping(sandbox.capabilities)?;
    }
    if settings.sandbox {
        let lacks = sandbox.enter();
        let lacks: Vec<String> =
            lacks.iter().map(|(layer, error)| format!("{layer} ({error})")).collect();
        if !lacks.is_empty() {
            log::warn!("The sandbox is incomplete here, without {}", lacks.join(", "));
        }
    } else {
        log::warn!("The packet process keeps all its rights (SANDBOX = \"0\")");
        if user.is_some() {
            // With another user, the process keeps only these capabilities, even without a sandbox.
            let dropped = drop_capabilities(sandbox.capabilities);
            dropped.map_err(Failure::system("cannot give up capabilities"))?;
        }
    }
    #[cfg(debug_assertions)]
    self_test::run();
    Ok(())
}

/// Returns the sandbox of a sentry on this system, as lines of a label and a text.
pub(crate) fn describe(settings: &Settings, user: Option<&User>) -> Vec<(&'static str, String)> {
    let user = user.map_or_else(|| "the user that starts it".to_owned(), User::to_string);
    let mut lines = vec![("runs as", user)];
    if !settings.sandbox {
        lines.push(("sandbox", "none (SANDBOX = \"0\")".to_owned()));
        return lines;
    }
    let test = sandbox(false, &[]).test();
    let or_why = |result: io::Result<String>| {
        result.unwrap_or_else(|error| format!("not supported here: {error}"))
    };
    let kept = "CAP_NET_RAW, or with --connect CAP_NET_BIND_SERVICE";
    lines.push(("capabilities", format!("{kept}; no others, and no new ones")));
    let readable: Vec<&str> =
        READABLE.iter().copied().filter(|path| Path::new(path).exists()).collect();
    let reach = test.reach.map(|()| format!("nothing to write; to read: {}", readable.join(", ")));
    lines.push(("files", or_why(reach)));
    lines.push(("system calls", or_why(test.calls.map(|number| format!("{number} of them")))));
    lines
}

/// Returns the user that `RUN_AS` names, if it is set.
pub(crate) fn user(settings: &Settings) -> Result<Option<User>, Failure> {
    settings.run_as.as_deref().map(User::find).transpose().map_err(Failure::from)
}

/// Returns the file that `TZ` names by its path (`tzset(3)`).
fn zone_file() -> Option<PathBuf> {
    let zone = std::env::var_os("TZ")?.into_string().ok()?;
    let path = zone.strip_prefix(':').unwrap_or(&zone);
    path.starts_with('/').then(|| path.into())
}
