//! Files and TCP connections: Landlock.
//!
//! The process can use only the listed files and directories. A rule applies to the file
//! or directory itself: if a listed file is replaced, the process cannot use the new one.

use std::io;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, PathFd, RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope,
};

/// The newest ABI that is used.
const ABI_KNOWN: ABI = ABI::V6;

/// Files and TCP ports that a process can still use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    /// Files to read, and directories with all their contents. Missing ones are skipped.
    pub read: Vec<PathBuf>,
    /// Files to read and write.
    pub write: Vec<PathBuf>,
    /// TCP ports to connect to.
    pub connect_tcp: Vec<u16>,
    /// Whether the process can bind TCP ports.
    pub bind_tcp: bool,
}

/// Restricts the calling thread, and the threads that it starts later, to `reach`.
pub(crate) fn restrict(reach: &Reach) -> io::Result<()> {
    let status = apply(reach).map_err(io::Error::other)?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => {
            Err(io::Error::other(format!("applied in part: {}", of_kernel(&status))))
        }
        RulesetStatus::NotEnforced => Err(io::Error::other(of_kernel(&status))),
    }
}

fn apply(reach: &Reach) -> Result<RestrictionStatus, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_KNOWN))?
        .handle_access(AccessNet::ConnectTcp)?
        .scope(Scope::Signal)?;
    if !reach.bind_tcp {
        ruleset = ruleset.handle_access(AccessNet::BindTcp)?;
    }
    let mut created = ruleset.create()?;
    for port in &reach.connect_tcp {
        created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    for path in &reach.read {
        created = allow(created, path, AccessFs::ReadFile | AccessFs::ReadDir)?;
    }
    for path in &reach.write {
        created = allow(created, path, AccessFs::ReadFile | AccessFs::WriteFile)?;
    }
    created.restrict_self()
}

fn allow(
    created: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, RulesetError> {
    let Ok(place) = PathFd::new(path) else { return Ok(created) };
    // A rule for a file must not contain rights for directories.
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI_KNOWN) };
    // A pipe of a shell is in no directory and always accessible. The kernel rejects a
    // rule for it.
    let Ok(without) = created.try_clone() else { return Ok(created) };
    Ok(created.add_rule(PathBeneath::new(place, access)).unwrap_or(without))
}

/// Returns the support of this kernel for Landlock, as text.
fn of_kernel(status: &RestrictionStatus) -> String {
    match status.landlock {
        LandlockStatus::NotEnabled => "turned off in this kernel".to_owned(),
        LandlockStatus::NotImplemented => "not in this kernel".to_owned(),
        LandlockStatus::Available { effective_abi, .. } => {
            format!("this kernel has ABI {}", effective_abi as i32)
        }
    }
}
