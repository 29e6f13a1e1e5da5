//! The ports that rules of the packet filter translate, read again when rules change.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use portsentry_capture::{LegacyTables, TranslationMonitor, Translations, translations};
use portsentry_core::TranslatedPorts;

/// Time from a change to the next read, so that the changes of one command are read together.
const DELAY: Duration = Duration::from_millis(20);

/// Time between two reads, as a multiple of the time that a read takes.
const PAUSE: u32 = 20;

/// Time between two reads if changes are not reported.
const INTERVAL: Duration = Duration::from_secs(60);

/// Follows the translated ports.
#[derive(Debug, Default)]
pub(crate) struct Follower {
    /// `None` if changes are not reported.
    monitor: Option<TranslationMonitor>,
    /// Time of the next read.
    due: Option<Instant>,
    /// Earliest time of the next read.
    pause: Option<Instant>,
    ports: Vec<TranslatedPorts>,
    /// Lines about ports that are not known, which were logged.
    doubts: Vec<String>,
}

impl Follower {
    /// Reads the ports now, and again after changes if they are `wanted`. Without that, there are
    /// none.
    pub(crate) fn start(&mut self, wanted: bool) -> &[TranslatedPorts] {
        if !wanted {
            *self = Self::default();
        } else {
            // Opened before the read, so that no change is missed.
            if self.monitor.is_none() {
                self.monitor = TranslationMonitor::open().ok();
            }
            self.read();
        }
        &self.ports
    }

    /// Returns a descriptor that is readable when rules have changed.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.monitor.as_ref().map(AsFd::as_fd)
    }

    /// Returns the time of the next call of [`poll`](Self::poll).
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Reads the ports if it is time, and returns them if they have changed.
    pub(crate) fn poll(&mut self, now: Instant) -> Option<&[TranslatedPorts]> {
        let changed = self.monitor.as_mut().map(TranslationMonitor::changed);
        match changed {
            Some(Ok(true)) => {
                let due = self.pause.map_or(now, |pause| pause.max(now)) + DELAY;
                self.due = Some(self.due.map_or(due, |known| known.min(due)));
            }
            Some(Err(_)) => {
                self.monitor = None;
                self.due = Some(now);
            }
            Some(Ok(false)) | None => {}
        }
        self.due.filter(|due| *due <= now)?;
        self.read().then_some(&*self.ports)
    }

    /// Reads the ports, and returns whether they have changed.
    fn read(&mut self) -> bool {
        let started = Instant::now();
        let found = translations();
        let ended = Instant::now();
        self.pause = Some(ended + (ended - started) * PAUSE);
        self.due = self.monitor.is_none().then(|| ended + INTERVAL);
        let doubts = translation_doubts(&found);
        for doubt in doubts.iter().filter(|doubt| !self.doubts.contains(doubt)) {
            log::warn!("{doubt}");
        }
        self.doubts = doubts;
        // After an error, the last result remains.
        let Ok(Translations { ports, .. }) = found else { return false };
        let changed = ports != self.ports;
        self.ports = ports;
        changed
    }
}

/// Returns a line for the administrator about each reason for which some translated ports are not
/// known, with the remedy.
pub fn translation_doubts(found: &io::Result<Translations>) -> Vec<String> {
    const REMEDY: &str = "leave the ports that it forwards out of TCP_PORTS and UDP_PORTS";
    let found = match found {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            return vec![
                "Ports that are forwarded to containers or other hosts are not known: the rules \
                 of the packet filter can be read only with CAP_NET_ADMIN; run portsentry as root \
                 or with this capability, or leave these ports out of TCP_PORTS and UDP_PORTS"
                    .to_owned(),
            ];
        }
        Err(error) => {
            return vec![format!(
                "Ports that are forwarded to containers or other hosts are not known: cannot read \
                 the rules of the packet filter: {error}; leave these ports out of TCP_PORTS and \
                 UDP_PORTS"
            )];
        }
    };
    let mut doubts = Vec::new();
    for rule in &found.unknown_rules {
        doubts.push(format!(
            "A rule of the packet filter forwards packets, and portsentry cannot find out to \
             which ports: {rule}; {REMEDY}"
        ));
    }
    if found.incomplete {
        doubts.push(format!("The packet filter has too many rules to read all of them; {REMEDY}"));
    }
    match found.legacy {
        LegacyTables::Present => doubts.push(format!(
            "iptables-legacy has a table nat, which portsentry cannot read; use iptables-nft, or \
             {REMEDY}"
        )),
        LegacyTables::Unreadable => doubts.push(format!(
            "Only root can find out whether iptables-legacy has a table nat; if it has, {REMEDY}"
        )),
        _ => {}
    }
    doubts
}

#[cfg(test)]
mod tests {
    use portsentry_testbed::{Namespace, require_root, wait_until};

    use super::*;

    const RULES: &str = "table ip t { chain c { type nat hook prerouting priority dstnat
        tcp dport 80 redirect to :99
        }
    }";

    #[test]
    fn ports_are_read_after_a_change_and_without_notifications_once_a_minute() {
        let Some(root) = require_root() else { return };
        let host = Namespace::isolated(root);
        let mut follower = Follower::default();
        assert_eq!(host.enter(|| follower.start(true).to_vec()), []);
        assert_eq!(follower.due(), None);
        assert!(host.enter(|| follower.poll(Instant::now()).is_none()));

        host.run("nft", &[RULES]);
        let mut found = Vec::new();
        wait_until("the rule is read", || {
            found.extend(host.enter(|| follower.poll(Instant::now()).map(<[_]>::to_vec)));
            !found.is_empty()
        });
        assert_eq!(found[0][0].to_string(), "tcp 80 at any IPv4 address");
        assert_eq!(found.len(), 1);

        // A change that concerns no port is read, but not reported.
        host.run("nft", &["add table ip other"]);
        wait_until("the change is read", || {
            assert!(host.enter(|| follower.poll(Instant::now()).is_none()));
            follower.due().is_none()
        });

        follower.monitor = None;
        host.run("nft", &["delete table ip t"]);
        assert!(host.enter(|| follower.poll(Instant::now()).is_none()));
        host.enter(|| follower.read());
        let due = follower.due().expect("a time");
        assert!(due > Instant::now() + INTERVAL / 2 && due <= Instant::now() + INTERVAL);
        host.run("nft", &[RULES]);
        assert!(host.enter(|| follower.poll(due).is_some()));
        assert_eq!(host.enter(|| follower.start(false).to_vec()), []);
        assert_eq!(follower.due(), None);
    }

    #[test]
    fn each_reason_for_unknown_ports_is_explained() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let doubts = translation_doubts(&Err(denied));
        assert!(doubts.len() == 1 && doubts[0].contains("CAP_NET_ADMIN"), "{doubts:?}");
        let doubts = translation_doubts(&Err(io::Error::other("x")));
        assert!(doubts.len() == 1 && doubts[0].contains(": x;"), "{doubts:?}");

        let mut found = Translations::of_dump(&[]);
        assert_eq!(translation_doubts(&Ok(found.clone())), [""; 0]);
        found.incomplete = true;
        found.legacy = LegacyTables::Present;
        found.unknown_rules = vec!["table a, chain b, handle 1".to_owned()];
        let doubts = translation_doubts(&Ok(found.clone()));
        let parts = ["handle 1;", "too many rules", "iptables-legacy has a table nat"];
        assert!(doubts.iter().zip(parts).all(|(doubt, part)| doubt.contains(part)), "{doubts:?}");
        assert_eq!(doubts.len(), parts.len());
        found.legacy = LegacyTables::Unreadable;
        assert!(translation_doubts(&Ok(found))[2].contains("Only root can find out"));
    }
}
