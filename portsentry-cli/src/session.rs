//! The configuration in force, from start to end, through reloads.
//!
//! A reload opens everything that the new configuration names before it
//! changes anything: it is taken over whole, or refused whole.

use std::path::Path;
use std::sync::Arc;

use ipnet::IpNet;
use portsentry_config::{Configuration, Overrides};
use portsentry_core::config::{BlockMode, KEYS};

use crate::arguments::WatchOptions;
use crate::commands::{configuration, importance};
use crate::failure::Failure;
use crate::policy::{never_block, policy};
use crate::report::{Change, History, Item, Level, LineOptions, Queue};
use crate::respond::{Actions, BlockedFile, Hosts};
use crate::sentry::{Interrupted, Sentry};

/// Keys that are read at the start alone.
const NEED_RESTART: [&str; 3] = ["CAPTURE_BUFFER", "CAPTURE_LATENCY", "RUN_AS"];

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
    pub(crate) actions: Arc<Actions>,
    change: Change,
    /// The hosts in the blocked file.
    blocked: Hosts,
}

impl<'a> Session<'a> {
    /// The configuration that the options ask for.
    pub(crate) fn load(options: &WatchOptions, directory: &Path) -> Result<Configuration, Failure> {
        let overrides = Overrides {
            local_check: !options.disable_local_check,
            // The sentry's own sockets serve the ports in connect mode.
            service_check: !options.disable_service_check && !options.connect,
        };
        configuration(&options.general, overrides, directory)
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
            sentry.engine.restore_blocked(std::mem::take(&mut self.blocked).iter());
            match sentry.run()? {
                Interrupted::Terminate => return Ok(()),
                Interrupted::Reload => {
                    sentry.heartbeat.manager.reloading();
                    self.reload(sentry);
                    sentry.heartbeat.manager.ready(&self.status());
                }
                Interrupted::AddressesChanged => {
                    let networks = never_block(&self.configuration)
                        .map_err(Failure::system("network interfaces"))?;
                    self.set_policy(networks, sentry);
                }
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
        let new = Self::load(self.options, self.directory).and_then(|new| {
            sentry.sensors.make_room(&new.settings)?;
            Opened::new(self.options, &new).map(|opened| (new, opened))
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

    fn put_in_force(&mut self, opened: Opened, sentry: &mut Sentry) {
        self.queue.push(Item::Change(Box::new(opened.change)));
        sentry.actions = opened.actions;
        sentry.served.wanted = self.configuration.service_check;
        if let Err(error) = sentry.sensors.set_settings(&self.configuration.settings) {
            self.say(Level::Error, &error.to_string());
        }
        self.blocked = opened.blocked;
        self.set_policy(opened.never_block, sentry);
    }

    fn set_policy(&mut self, never_block: Vec<IpNet>, sentry: &mut Sentry) {
        sentry.engine.set_policy(policy(&self.configuration, &never_block));
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
        let mut changed: Vec<&str> = KEYS
            .iter()
            .filter(|key| key.value(&old.settings) != key.value(&new.settings))
            .map(|key| key.name)
            .collect();
        if old.ignore != new.ignore {
            changed.push("the ignore list");
        }
        let what = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        self.say(Level::Notice, &format!("Configuration read again; changed: {what}"));
        for key in changed.into_iter().filter(|key| NEED_RESTART.contains(key)) {
            log::warn!("{key} takes effect at the next start");
        }
    }

    fn say(&self, level: Level, line: &str) {
        self.queue.push(Item::Line(level, line.to_owned()));
    }
}

impl Opened {
    /// Opens what `configuration` names. Nothing is in force yet.
    pub(crate) fn new(
        options: &WatchOptions,
        configuration: &Configuration,
    ) -> Result<Self, Failure> {
        let settings = &configuration.settings;
        let never_block =
            never_block(configuration).map_err(Failure::system("network interfaces"))?;
        let history = settings.history_file.as_deref().map(Path::new).map(|path| {
            History::open(path).map_err(|source| Failure::History { path: path.to_owned(), source })
        });
        let change = Change {
            options: LineOptions {
                importance: importance(&options.general),
                ignore_file: settings.ignore_file.clone().unwrap_or_default(),
            },
            history: history.transpose()?,
            resolve_names: settings.resolve_host,
        };
        let (file, blocked) =
            settings.blocked_file.as_deref().map(open_blocked).transpose()?.unzip();
        let actions = Arc::new(Actions::new(settings, file));
        Ok(Self { never_block, actions, change, blocked: blocked.unwrap_or_default() })
    }
}

fn open_blocked(path: &str) -> Result<(BlockedFile, Hosts), Failure> {
    let (file, restored) = BlockedFile::open(Path::new(path))?;
    if restored.torn > 0 {
        let torn = restored.torn;
        log::warn!("blocked file {path}: cut off {torn} bytes of an unfinished last record");
    }
    log::info!("blocked file {path}: {} hosts", restored.hosts.len());
    Ok((file, restored.hosts))
}
