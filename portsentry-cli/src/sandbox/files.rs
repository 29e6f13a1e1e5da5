//! Files and TCP connections: Landlock.
//!
//! The packet process opens nothing that the configuration names; the responder
//! does, and hands over what is open. What is left to be read is what names and
//! local times come from, and nothing may be written. A file that is replaced in
//! a directory that is not named here is out of reach from then on; that costs
//! names, not probes.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// What this was written for; what is newer is left alone.
const ABI_KNOWN: ABI = ABI::V6;

/// Directories and files that may be read. Those that are missing are left out.
pub(super) const READABLE: &[&str] = &[
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

/// What `-D` leaves its terminal for.
const NOTHING: &str = "/dev/null";

/// Where names are asked for if an answer is too long for a datagram.
const DNS: u16 = 53;

/// Leaves only [`READABLE`] and `more` to be read, for this thread and those that
/// it starts; no outgoing TCP connections but to name servers, and no ports to be
/// bound unless `connect` is for that.
pub(super) fn restrict(connect: bool, more: &[PathBuf]) -> io::Result<()> {
    let status = apply(connect, more).map_err(io::Error::other)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => {
            Err(io::Error::other(format!("in part: {}", of_kernel(&status))))
        }
        RulesetStatus::NotEnforced => Err(io::Error::other(of_kernel(&status))),
    }
}

fn apply(connect: bool, more: &[PathBuf]) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_KNOWN))?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(Scope::Signal)?;
    if !connect {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
    }
    let mut created = ruleset.create()?.add_rule(NetPort::new(DNS, AccessNet::ConnectTcp))?;
    let reading = AccessFs::ReadFile | AccessFs::ReadDir;
    let always = READABLE.iter().map(PathBuf::from).chain(zone_file());
    for path in always.chain(more.iter().cloned()) {
        created = allow(created, &path, reading)?;
    }
    created = allow(created, Path::new(NOTHING), AccessFs::ReadFile | AccessFs::WriteFile)?;
    created.restrict_self()
}

fn allow(
    created: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else { return Ok(created) };
    // A file has no entries to be listed.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI_KNOWN) };
    // A pipe of a shell is in no directory and always within reach; the kernel
    // takes no rule for it.
    let Ok(without) = created.try_clone() else { return Ok(created) };
    Ok(created.add_rule(PathBeneath::new(place, access)).unwrap_or(without))
}

/// A file that `TZ` names by its path (`tzset(3)`).
fn zone_file() -> Option<PathBuf> {
    let zone = std::env::var_os("TZ")?.into_string().ok()?;
    let path = zone.strip_prefix(':').unwrap_or(&zone);
    path.starts_with('/').then(|| path.into())
}

/// What the kernel has of Landlock.
fn of_kernel(status: &RestrictionStatus) -> String {
    match status.landlock {
        LandlockStatus::NotEnabled => "turned off in this kernel".to_owned(),
        LandlockStatus::NotImplemented => "not in this kernel".to_owned(),
        LandlockStatus::Available { effective_abi, .. } => {
            format!("this kernel has ABI {}", effective_abi as i32)
        }
    }
}

/// Those of [`READABLE`] that there are here.
pub(super) fn present() -> Vec<&'static str> {
    READABLE.iter().copied().filter(|path| Path::new(path).exists()).collect()
}
