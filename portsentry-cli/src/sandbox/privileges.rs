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

use crate::failure::Failure;

/// A user of this system, with all groups.
#[derive(Debug)]
pub(crate) struct User {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl User {
    /// The user of this name, or number.
    ///
    /// # Errors
    ///
    /// If there is none. A number needs no name; it has the group of the same
    /// number then, and no others.
    pub(crate) fn find(name: &str) -> Result<Self, Failure> {
        let cannot = |error: nix::Error| Failure::system("cannot look up RUN_AS")(error);
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
            (None, None) => Err(Failure::Configuration(format!(
                "error: RUN_AS: there is no user `{name}`; make one with `useradd --system`, or name another\n"
            ))),
        }
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (uid {}, gid {})", self.name, self.uid, self.gid)
    }
}

/// The capabilities that are used while watching: to bind ports of a later
/// configuration, or to capture on interfaces that come later.
pub(super) const fn needed(connect: bool) -> CapabilitySet {
    if connect { CapabilitySet::NET_BIND_SERVICE } else { CapabilitySet::NET_RAW }
}

/// Becomes `user`, real, effective and saved, and keeps what there is of
/// `capabilities`.
pub(super) fn become_user(user: &User, kept: CapabilitySet) -> Result<(), Failure> {
    if unistd::getuid() == user.uid && unistd::geteuid() == user.uid && unistd::getgid() == user.gid
    {
        return Ok(());
    }
    let become_it = || -> io::Result<()> {
        set_keep_capabilities(true)?;
        unistd::setgroups(&user.groups)?;
        unistd::setresgid(user.gid, user.gid, user.gid)?;
        unistd::setresuid(user.uid, user.uid, user.uid)?;
        // That has taken all of them out of the effective set. Only to be able to
        // give up more, the rest stays until the next step.
        let CapabilitySets { permitted, inheritable, .. } = capabilities(None)?;
        let effective = permitted & (kept | CapabilitySet::SETPCAP);
        set_capabilities(None, CapabilitySets { effective, permitted, inheritable })?;
        Ok(())
    };
    become_it().map_err(|error| {
        Failure::Privilege(format!(
            "cannot become the user {}, as RUN_AS says: {error}\nStart it as root, or with that user and without RUN_AS.",
            user.name
        ))
    })
}

/// Gives up every capability but `kept`, for this process and whatever it could
/// start.
pub(super) fn drop_others(kept: CapabilitySet) -> io::Result<()> {
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

/// From here on no program gives this process, or one that it starts, more than
/// it has.
pub(super) fn forbid_new() -> io::Result<()> {
    Ok(set_no_new_privs(true)?)
}
