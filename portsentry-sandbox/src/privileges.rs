//! User, groups and capabilities.

use std::ffi::CString;
use std::io;

use nix::unistd::{self, Gid, Uid};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, capabilities,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_capabilities_secure_bits, set_keep_capabilities, set_no_new_privs,
};

/// A user of this system, with all of the user's groups.
#[derive(Debug)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// The reason why a process cannot run as a user.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// The user does not exist.
    #[error("there is no user `{0}`")]
    Unknown(String),
    /// The user database of the system cannot be read.
    #[error("cannot look up the user: {0}")]
    LookUp(#[source] io::Error),
    /// The process cannot switch to the user.
    #[error("cannot become the user {name}: {source}")]
    Become {
        /// The user.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl User {
    /// Finds the user with this name or number, and all groups. A number without an
    /// entry in the user database is valid: it gets only the group of the same number.
    ///
    /// # Errors
    ///
    /// [`UserError::Unknown`] if the user does not exist.
    pub fn find(name: &str) -> Result<Self, UserError> {
        let cannot = |error: nix::Error| UserError::LookUp(error.into());
        let number = name.parse::<u32>().ok();
        let found = match number {
            Some(number) => unistd::User::from_uid(Uid::from_raw(number)),
            None => unistd::User::from_name(name),
        };
        match (found.map_err(cannot)?, number) {
            (Some(user), _) => {
                let c_name = CString::new(user.name.as_str()).unwrap_or_default();
                let groups = unistd::getgrouplist(&c_name, user.gid).map_err(cannot)?;
                Ok(Self { name: user.name, uid: user.uid, gid: user.gid, groups })
            }
            (None, Some(number)) => {
                let (uid, gid) = (Uid::from_raw(number), Gid::from_raw(number));
                Ok(Self { name: number.to_string(), uid, gid, groups: vec![gid] })
            }
            (None, None) => Err(UserError::Unknown(name.to_owned())),
        }
    }

    /// Sets the real, effective and saved user to this user, and keeps those of
    /// `capabilities` that the process has. Does nothing if the process already runs as
    /// this user.
    ///
    /// The other capabilities are no longer effective, but remain permitted until
    /// [`drop_capabilities`] or [`Sandbox::enter`](crate::Sandbox::enter).
    ///
    /// # Errors
    ///
    /// [`UserError::Become`] if the process lacks the rights to switch.
    pub fn become_keeping(&self, capabilities: CapabilitySet) -> Result<(), UserError> {
        if unistd::getuid() == self.uid
            && unistd::geteuid() == self.uid
            && unistd::getgid() == self.gid
        {
            return Ok(());
        }
        self.switch(capabilities)
            .map_err(|source| UserError::Become { name: self.name.clone(), source })
    }

    fn switch(&self, kept: CapabilitySet) -> io::Result<()> {
        set_keep_capabilities(true)?;
        unistd::setgroups(&self.groups)?;
        unistd::setresgid(self.gid, self.gid, self.gid)?;
        unistd::setresuid(self.uid, self.uid, self.uid)?;
        // The switch cleared the effective set. The other capabilities remain permitted,
        // because the next step needs CAP_SETPCAP.
        let CapabilitySets { permitted, inheritable, .. } = capabilities(None)?;
        let effective = permitted & (kept | CapabilitySet::SETPCAP);
        set_capabilities(None, CapabilitySets { effective, permitted, inheritable })?;
        Ok(())
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (uid {}, gid {})", self.name, self.uid, self.gid)
    }
}

/// Drops all capabilities except `kept`, for this process and all programs that it starts.
///
/// # Errors
///
/// The error of the kernel if it rejects a step.
pub fn drop_capabilities(kept: CapabilitySet) -> io::Result<()> {
    let before = capabilities(None)?;
    clear_ambient_capability_set()?;
    // Both steps need CAP_SETPCAP. Without it they can be skipped: `no_new_privs` prevents
    // additions to the sets below.
    if before.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..u64::BITS {
            // The kernel returns an error for a capability above its last one.
            let capability = CapabilitySet::from_bits_retain(1 << bit);
            if remove_capability_from_bounding_set(capability).is_err() {
                break;
            }
        }
        type Bits = CapabilitiesSecureBits;
        set_capabilities_secure_bits(
            Bits::NO_ROOT
                | Bits::NO_ROOT_LOCKED
                | Bits::NO_SETUID_FIXUP
                | Bits::NO_SETUID_FIXUP_LOCKED
                | Bits::KEEP_CAPS_LOCKED
                | Bits::NO_CAP_AMBIENT_RAISE
                | Bits::NO_CAP_AMBIENT_RAISE_LOCKED,
        )?;
    }
    let left = before.permitted & kept;
    let inheritable = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: left, permitted: left, inheritable })?;
    // Prevents other processes of the same user from reading the memory of this one.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Sets `no_new_privs`: programs that this process or its children start cannot gain
/// rights.
pub(crate) fn forbid_new() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}
