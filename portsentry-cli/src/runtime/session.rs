//! The configuration in force, from start to end, through reloads.
//!
//! The responder reads the configuration, and opens every file that it names, before anything
//! changes. A reload is therefore applied completely or refused completely.
//!
//! At the start, the captures are open before the hosts of the blocked file are restored. Packets
//! that arrive in between wait in the kernel, and no packet is decided before all blocked hosts are
//! known.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use portsentry_config::{Configuration, FileError, read_file};
use portsentry_core::config::{BlockMode, KEYS, Key, Reload};
use portsentry_report::{Level, LineOptions};
use portsentry_respond::{Client, History, Hosts};

use super::sentry::{Interrupted, Sentry};
use crate::arguments::WatchOptions;
use crate::configuration::to_watch;
use crate::failure::Failure;
use crate::output::{Change, LogItem, Queue};

/// What is in force, and who is told when it changes.
pub(crate) struct Session<'a> {
    options: &'a WatchOptions,
    /// The directory that the program was started in.
    directory: &'a Path,
    queue: &'a Queue,
    configuration: Configuration,
    never_block: Vec<IpNet>,
    /// Hosts that the engine does not know of yet.
    blocked: Hosts,
}

/// Everything that a configuration names and that can fail to open.
pub(crate) struct Opened {
    pub(crate) never_block: Vec<IpNet>,
    change: Change,
    /// The hosts in the blocked file.
    blocked: Hosts,
}

/// A configuration, and the files that it was read from.
pub(crate) struct Known {
    pub(crate) configuration: Configuration,
    files: Vec<(PathBuf, Vec<u8>)>,
}

impl Known {
    /// What `files` amount to: `read` says so, unless they are the same.
    fn or_read(
        known: Option<Self>,
        files: &[(PathBuf, Vec<u8>)],
        read: impl FnOnce() -> Result<Configuration, Failure>,
    ) -> Result<Configuration, Failure> {
        match known {
            Some(known) if known.files == files => Ok(known.configuration),
            _ => read(),
        }
    }
}

impl<'a> Session<'a> {
    /// The configuration that the options ask for.
    pub(crate) fn load(options: &WatchOptions, directory: &Path) -> Result<Known, Failure> {
        let mut files = Vec::new();
        let mut read = |path: &Path| -> Result<Vec<u8>, FileError> {
            let content = read_file(path)?;
            files.push((path.to_owned(), content.clone()));
            Ok(content)
        };
        let configuration = to_watch(options, directory, &mut read)?;
        Ok(Known { configuration, files })
    }

    /// Puts the first configuration in force, but for the hosts that are blocked
    /// already: [`watch`](Self::watch) begins with them.
    pub(crate) fn begin(
        options: &'a WatchOptions,
        directory: &'a Path,
        queue: &'a Queue,
        configuration: Configuration,
        opened: Opened,
        sentry: &mut Sentry,
    ) -> Self {
        let (never_block, blocked) = (Vec::new(), Hosts::default());
        let mut session = Self { options, directory, queue, configuration, never_block, blocked };
        session.put_in_force(opened, sentry);
        session
    }

    /// Watches until the end is asked for.
    ///
    /// A million blocked hosts take some 90 ms to be restored. Probes that come
    /// meanwhile wait in the kernel, as they do while others are read, and nothing is
    /// decided about them before every host is known.
    pub(crate) fn watch(&mut self, sentry: &mut Sentry) -> Result<(), Failure> {
        loop {
            sentry.workers.restore_blocked(std::mem::take(&mut self.blocked));
            let interrupted = sentry.run()?;
            if interrupted == Interrupted::Terminate {
                return Ok(());
            }
            // What changes, changes between two packets.
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

    /// What is watched, in a few words for the service manager.
    pub(crate) fn status(&self) -> String {
        let settings = &self.configuration.settings;
        let (tcp, udp) = (settings.tcp_ports.len(), settings.udp_ports.len());
        format!("Watching {tcp} TCP and {udp} UDP ports")
    }

    fn reload(&mut self, sentry: &mut Sentry) {
        sentry.responder.load();
        let new = Opened::take(self.options, self.directory, None, &mut sentry.responder);
        let new = new.and_then(|(new, opened)| {
            self.check_rights(&new)?;
            sentry.workers.make_room(&new.settings)?;
            Ok((new, opened))
        });
        match new {
            Ok((new, opened)) => {
                let old = std::mem::replace(&mut self.configuration, new);
                self.put_in_force(opened, sentry);
                self.say_what_changed(&old);
            }
            Err(failure) => {
                for line in failure.to_string().lines() {
                    self.say(Level::Error, line);
                }
                let refused = "The new configuration was refused; the old one stays in force.";
                self.say(Level::Error, refused);
            }
        }
    }

    /// Whether the rights that are left are enough for `new`.
    fn check_rights(&self, new: &Configuration) -> Result<(), Failure> {
        match changes(&self.configuration, new).find(|key| key.reload == Reload::Restart) {
            Some(key) => Err(Failure::RestartNeeded(format!("{} has changed", key.name))),
            None => Ok(()),
        }
    }

    fn put_in_force(&mut self, opened: Opened, sentry: &mut Sentry) {
        self.queue.push(LogItem::Change(Box::new(opened.change)));
        sentry.responder.adopt();
        let Configuration { settings, service_check, .. } = &self.configuration;
        if let Err(error) = sentry.workers.set_settings(settings, *service_check) {
            self.say(Level::Error, &error.to_string());
        }
        self.blocked = opened.blocked;
        self.set_policy(opened.never_block, sentry);
    }

    fn set_policy(&mut self, never_block: Vec<IpNet>, sentry: &mut Sentry) {
        let networks = never_block.iter().copied().collect();
        sentry.workers.set_policy(self.configuration.policy(networks));
        let settings = &self.configuration.settings;
        let responds =
            [settings.block_tcp, settings.block_udp].iter().any(|m| *m != BlockMode::Log);
        if responds && never_block != self.never_block {
            let list: Vec<String> = never_block.iter().map(ToString::to_string).collect();
            let list = if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
            self.say(Level::Notice, &format!("Never blocking: {list}"));
        }
        self.never_block = never_block;
    }

    fn say_what_changed(&self, old: &Configuration) {
        let new = &self.configuration;
        let mut changed: Vec<&str> = changes(old, new).map(|key| key.name).collect();
        if old.ignore != new.ignore {
            changed.push("the ignore list");
        }
        let what = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        self.say(Level::Notice, &format!("Configuration read again; changed: {what}"));
        for key in changes(old, new).filter(|key| key.reload == Reload::NextStart) {
            log::warn!("{} takes effect at the next start", key.name);
        }
    }

    fn say(&self, level: Level, line: &str) {
        self.queue.push(LogItem::Line(level, line.to_owned()));
    }
}

/// The keys with different values, in the order of the table.
fn changes(old: &Configuration, new: &Configuration) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(|key| key.value(&old.settings) != key.value(&new.settings))
}

impl Opened {
    /// Takes what the responder was told to [`load`](Client::load): the
    /// configuration, and what it names. Nothing is in force yet. A long ignore list
    /// takes a while to be read, and is not read again if it is `known`.
    pub(crate) fn take(
        options: &WatchOptions,
        directory: &Path,
        known: Option<Known>,
        responder: &mut Client,
    ) -> Result<(Configuration, Self), Failure> {
        let mut loaded = responder.loaded()?;
        let configuration = Known::or_read(known, loaded.files(), || {
            to_watch(options, directory, &mut |path: &Path| loaded.read(path))
        })?;
        let settings = &configuration.settings;
        let path = settings.history_file.as_deref().map(Path::new);
        let history = path.zip(loaded.history.take());
        let change = Change {
            options: LineOptions {
                importance: options.general.importance(),
                ignore_file: settings.ignore_file.clone().unwrap_or_default(),
            },
            history: history.map(|(path, file)| History::opened(path, file)),
            resolve_names: settings.resolve_host,
        };
        let opened = Self { never_block: loaded.never_block, change, blocked: loaded.hosts };
        Ok((configuration, opened))
    }
}

#[cfg(test)]
mod tests {
    use portsentry_config::{Overrides, Source, load_with};

    use super::*;

    #[test]
    fn only_the_same_files_are_not_read_again() {
        let parse = |text: &str| {
            let source = Source::file("portsentry.conf");
            let mut read = |_: &Path| Ok(text.into());
            load_with(&source, Overrides::default(), Path::new("/"), &mut read).unwrap()
        };
        let path = || PathBuf::from("/portsentry.conf");
        let ports = |known: Option<&str>, found: &[(PathBuf, Vec<u8>)]| {
            let known = known.map(|text| Known {
                configuration: parse("TCP_PORTS = \"1\""),
                files: vec![(path(), text.into())],
            });
            let read = || Ok(parse("TCP_PORTS = \"1,2\""));
            Known::or_read(known, found, read).unwrap().settings.tcp_ports.len()
        };
        let found = [(path(), b"text".to_vec())];
        assert_eq!(ports(Some("text"), &found), 1);
        assert_eq!(ports(Some("another"), &found), 2);
        assert_eq!(ports(Some("text"), &[]), 2);
        assert_eq!(ports(Some("text"), &[("/another.conf".into(), b"text".to_vec())]), 2);
        assert_eq!(ports(None, &found), 2);
    }
}
