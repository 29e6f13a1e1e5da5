//! The configuration in force, from start to end, through reloads.
//!
//! The responder reads the configuration, and opens every file that it names, before anything
//! changes. A reload is therefore applied completely or refused completely.
//!
//! At the start, the captures are open before the hosts of the blocked file are restored. Packets
//! that arrive in between wait in the kernel, and no packet is decided before all blocked hosts are
//! known.

use std::path::Path;

use ipnet::IpNet;
use portsentry_capture::FragmentLimits;
use portsentry_config::Configuration;
use portsentry_core::config::{BlockMode, KEYS, Key, Reload};
use portsentry_core::{Policy, Protocol};
use portsentry_report::{LineOptions, Notice};
use portsentry_respond::{Client, History, Hosts};

use super::sensors::SensorSettings;
use super::sentry::{Interrupted, Sentry};
use crate::arguments::WatchOptions;
use crate::configuration::from_responder;
use crate::failure::Failure;
use portsentry_output::{Change, LogItem, Queue};

/// The configuration in force, and the threads and processes that depend on it.
pub(crate) struct Session<'a> {
    options: &'a WatchOptions,
    /// Working directory at the start of the program.
    directory: &'a Path,
    queue: &'a Queue,
    configuration: Configuration,
    never_block: Vec<IpNet>,
    /// The kernel's limits for fragments.
    fragments: FragmentLimits,
    /// Blocked hosts that the engine does not know yet.
    blocked: Hosts,
}

/// Everything that a configuration names and that can fail to open.
pub(crate) struct PreparedConfig {
    pub(crate) never_block: Vec<IpNet>,
    change: Change,
    /// The hosts in the blocked file.
    blocked: Hosts,
    /// The kernel's limits for fragments.
    fragments: FragmentLimits,
}

impl<'a> Session<'a> {
    /// Puts the first configuration in force, except for the hosts that are blocked already:
    /// [`watch`](Self::watch) restores them first.
    pub(crate) fn activate(
        options: &'a WatchOptions,
        directory: &'a Path,
        queue: &'a Queue,
        configuration: Configuration,
        opened: PreparedConfig,
        sentry: &mut Sentry,
    ) -> Self {
        let mut session = Self {
            options,
            directory,
            queue,
            configuration,
            never_block: Vec::new(),
            fragments: FragmentLimits::default(),
            blocked: Hosts::default(),
        };
        session.put_in_force(opened, sentry);
        session
    }

    /// Watches until the end is requested.
    ///
    /// The restore of a million blocked hosts takes about 90 ms. Probes that arrive meanwhile wait
    /// in the kernel, and none is decided before all hosts are restored.
    pub(crate) fn watch(&mut self, sentry: &mut Sentry) -> Result<(), Failure> {
        loop {
            sentry.workers.restore_blocked(std::mem::take(&mut self.blocked));
            let interrupted = sentry.run()?;
            if interrupted == Interrupted::Terminate {
                return Ok(());
            }
            // The change happens between two packets.
            sentry.workers.pause();
            match interrupted {
                Interrupted::Terminate => {}
                Interrupted::Reload => {
                    sentry.heartbeat.manager.reloading();
                    self.reload(sentry);
                    sentry.heartbeat.manager.ready(&self.status());
                }
                Interrupted::NeverBlockChanged(networks) => self.set_policy(networks, sentry),
            }
        }
    }

    /// Returns the watched ports in a few words for the service manager.
    pub(crate) fn status(&self) -> String {
        let [tcp, udp] =
            [Protocol::Tcp, Protocol::Udp].map(|it| self.configuration.ports(it).len());
        format!("Watching {tcp} TCP and {udp} UDP ports")
    }

    fn reload(&mut self, sentry: &mut Sentry) {
        sentry.responder.load();
        let new = from_responder(self.options, self.directory, &mut sentry.responder);
        let new = new.and_then(|new| {
            let opened = PreparedConfig::take(self.options, &new, &mut sentry.responder)?;
            self.check_rights(&new)?;
            sentry.workers.make_room(&SensorSettings::of(&new, opened.fragments))?;
            Ok((new, opened))
        });
        match new {
            Ok((new, opened)) => {
                // The responder sent them under the old configuration. A refusal by the old
                // BLOCK_RATE must not delay responses under the new one.
                sentry.take_answers();
                let old = std::mem::replace(&mut self.configuration, new);
                let fragments = self.fragments;
                self.put_in_force(opened, sentry);
                self.report_changes(&old, fragments);
            }
            Err(failure) => {
                self.notify(Notice::ReloadRefused { why: failure.to_string() });
            }
        }
    }

    /// Returns an error if the remaining rights are not enough for `new`.
    fn check_rights(&self, new: &Configuration) -> Result<(), Failure> {
        match changes(&self.configuration, new).find(|key| key.reload == Reload::Restart) {
            Some(key) => Err(Failure::RestartNeeded(format!("{} has changed", key.name))),
            None => Ok(()),
        }
    }

    fn put_in_force(&mut self, opened: PreparedConfig, sentry: &mut Sentry) {
        self.queue.push(LogItem::Change(Box::new(opened.change)));
        sentry.responder.adopt();
        let settings = SensorSettings::of(&self.configuration, opened.fragments);
        if let Err(error) = sentry.workers.set_settings(settings) {
            self.notify(Notice::NotInForce { why: error.to_string() });
        }
        self.fragments = opened.fragments;
        self.blocked = opened.blocked;
        self.set_policy(opened.never_block, sentry);
    }

    fn set_policy(&mut self, never_block: Vec<IpNet>, sentry: &mut Sentry) {
        sentry.workers.set_policy(policy(&self.configuration, &never_block));
        let settings = &self.configuration.settings;
        let responds =
            [settings.block_tcp, settings.block_udp].iter().any(|m| *m != BlockMode::Log);
        if responds && never_block != self.never_block {
            self.notify(Notice::NeverBlocking(never_block.clone()));
        }
        self.never_block = never_block;
    }

    fn report_changes(&self, old: &Configuration, fragments: FragmentLimits) {
        let new = &self.configuration;
        let mut changed: Vec<&str> = changes(old, new).map(|key| key.name).collect();
        if old.ignore != new.ignore {
            changed.push("the ignore list");
        }
        if old.local_ports != new.local_ports {
            changed.push("the ports of outgoing connections");
        }
        if self.fragments != fragments {
            changed.push("the limits for fragments");
        }
        self.notify(Notice::Reloaded { changed });
        for key in changes(old, new).filter(|key| key.reload == Reload::NextStart) {
            self.notify(Notice::NextStart { key: key.name });
        }
    }

    fn notify(&self, notice: Notice) {
        self.queue.push(LogItem::Notice(notice));
    }
}

/// Returns the rules for an engine whose responses the responder limits: only the responder counts
/// `BLOCK_RATE`.
pub(crate) fn policy(configuration: &Configuration, never_block: &[IpNet]) -> Policy {
    let policy = configuration.policy(never_block.iter().copied().collect());
    Policy { block_rate: 0, ..policy }
}

/// Returns the keys with different values, in the order of the table.
fn changes(old: &Configuration, new: &Configuration) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.value(&old.settings) != key.value(&new.settings))
}

impl PreparedConfig {
    /// Waits until the responder has opened everything that `configuration` names, after a call of
    /// [`load`](Client::load). Nothing is in force yet.
    pub(crate) fn take(
        options: &WatchOptions,
        configuration: &Configuration,
        responder: &mut Client,
    ) -> Result<Self, Failure> {
        let fragments = FragmentLimits::of_kernel(|path| responder.read(path).ok());
        let loaded = responder.loaded()?;
        let settings = &configuration.settings;
        let path = settings.history_file.as_deref().map(Path::new);
        let history = path.zip(loaded.history);
        let change = Change {
            options: LineOptions {
                importance: options.general.importance(),
                ignore_file: settings.ignore_file.clone().unwrap_or_default(),
            },
            history: history.map(|(path, file)| History::opened(path, file)),
            resolve_names: settings.resolve_host,
        };
        Ok(Self { never_block: loaded.never_block, change, blocked: loaded.hosts, fragments })
    }
}
