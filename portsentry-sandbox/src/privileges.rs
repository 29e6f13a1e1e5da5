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

/// A user of this system, with all groups.
#[derive(Debug)]
pub struct User {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

/// Why a user cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserError {
    /// There is no user of this name.
    #[error("there is no user `{0}`")]
    Unknown(String),
    /// The system's user database cannot be read.
    #[error("cannot look up the user: {0}")]
    LookUp(#[source] io::Error),
    /// The process may not become the user.
    #[error("cannot become the user {name}: {source}")]
    Become {
        /// The user.
        name: String,
        /// The error of the system.
        source: io::Error,
    },
}

impl User {
    /// Finds the user of this name, or number, with all groups. A number needs no
    /// name; it has the group of the same number then, and no others.
    ///
    /// # Errors
    ///
    /// [`UserError::Unknown`] if there is none.
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

    /// Becomes this user, real, effective and saved, and keeps `capabilities` as far
    /// as the process has them. Does nothing if the process runs as this user already.
    ///
    /// The other capabilities are no longer effective, but stay permitted until
    /// [`drop_capabilities`] or [`Sandbox::enter`](crate::Sandbox::enter).
    ///
    /// # Errors
    ///
    /// [`UserError::Become`] if the process lacks the rights for that.
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
        // The switch has emptied the effective set. The rest stays permitted until the
        // next step, which needs CAP_SETPCAP to give up more.
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

/// Gives up every capability except `kept`, for this process and every program it
/// could start.
///
/// # Errors
///
/// If the kernel refuses one of the steps.
pub fn drop_capabilities(kept: CapabilitySet) -> io::Result<()> {
    let before = capabilities(None)?;
    clear_ambient_capability_set()?;
    // Both take CAP_SETPCAP. Without it nothing is lost: the sets below can never
    // be added to once new privileges are forbidden.
    if before.effective.contains(CapabilitySet::SETPCAP) {
        for bit in 0..u64::BITS {
            // The kernel says which are the last it knows.
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
    // Neither does another process of the same user look into this one.
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// Sets `no_new_privs`: from here on no program gives this process, or one that it
/// starts, more rights than it has.
pub(crate) fn forbid_new() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}
