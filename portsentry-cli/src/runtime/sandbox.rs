//! The rights that the packet process keeps.
//!
//! The packet process opens no file that the configuration names; the responder opens
//! them and hands them over. Names and local times still come from files, and nothing
//! may be written. A file that is replaced in a directory that is not listed here is
//! out of reach from then on; that costs names, not probes.
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

/// Directories and files that may be read.
const READABLE: &[&str] = &[
    // Local times.
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/etc/timezone",
    // Names of hosts, and the libraries that know them.
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
    // Which ports are served, and what kind of interface one is.
    "/proc/self",
    "/sys/class/net",
    "/sys/devices",
];

/// `-D` directs standard output and standard error there.
const NOTHING: &str = "/dev/null";

/// Port of name servers that are asked over TCP if an answer does not fit a datagram.
const DNS: u16 = 53;

const CALLS: [CallGroup; 8] = [
    CallGroup::Io,
    CallGroup::Files,
    CallGroup::Sockets,
    CallGroup::Memory,
    CallGroup::Threads,
    CallGroup::Signals,
    // The responder is one.
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

/// The sandbox of a process that binds the ports (`connect`) or reads packets, and
/// reads `files` besides.
fn sandbox(connect: bool, files: &[PathBuf]) -> Sandbox {
    // To bind the ports of a later configuration, or to capture on interfaces that come
    // later.
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

/// Gives up all rights but those to read `files` and to write to what is open. Layers
/// that the system does not support are skipped without a message.
pub(crate) fn enter_to_read(settings: &Settings, files: &[PathBuf]) {
    if settings.sandbox {
        // So that root can read the files of others, as ever.
        let capabilities = CapabilitySet::DAC_READ_SEARCH;
        let _ = Sandbox { capabilities, ..sandbox(false, files) }.enter();
    }
    #[cfg(debug_assertions)]
    self_test::run();
}

/// Gives up all rights that watching does not need, and becomes `user` if there is one.
/// The calling thread must be the only one. Layers that are not supported are logged.
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
        log::warn!("The packet process keeps all its rights, as SANDBOX = \"0\" says");
        if user.is_some() {
            // Another user does not have the capabilities of this one.
            let dropped = drop_capabilities(sandbox.capabilities);
            dropped.map_err(Failure::system("cannot give up capabilities"))?;
        }
    }
    #[cfg(debug_assertions)]
    self_test::run();
    Ok(())
}

/// The sandbox that a sentry would have on this system, in lines of a label and a text.
pub(crate) fn describe(settings: &Settings, user: Option<&User>) -> Vec<(&'static str, String)> {
    let user = user.map_or_else(|| "the user that starts it".to_owned(), User::to_string);
    let mut lines = vec![("runs as", user)];
    if !settings.sandbox {
        lines.push(("sandbox", "none, as SANDBOX = \"0\" says".to_owned()));
        return lines;
    }
    let test = sandbox(false, &[]).test();
    let or_why = |result: io::Result<String>| {
        result.unwrap_or_else(|error| format!("not in force here: {error}"))
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

/// Finds the user that `RUN_AS` names, if it names one.
pub(crate) fn user(settings: &Settings) -> Result<Option<User>, Failure> {
    settings.run_as.as_deref().map(User::find).transpose().map_err(Failure::from)
}

/// A file that `TZ` names by its path (`tzset(3)`).
fn zone_file() -> Option<PathBuf> {
    let zone = std::env::var_os("TZ")?.into_string().ok()?;
    let path = zone.strip_prefix(':').unwrap_or(&zone);
    path.starts_with('/').then(|| path.into())
}
