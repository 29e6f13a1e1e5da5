//! The sentry itself: open everything, watch, reload, end.

use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use portsentry_capture::{CaptureOptions, PcapBackend, Selection, SensorSet};
use portsentry_config::{Configuration, Origin, Overrides};
use portsentry_core::config::KEYS;
use portsentry_core::{Engine, HashKey, Limits};

use super::{configuration, importance, show_warnings};
use crate::arguments::{VERSION, WatchOptions};
use crate::failure::Failure;
use crate::logging;
use crate::policy::{never_block, policy};
use crate::report::{Change, History, Item, LineOptions, Queue, Reporter, Sinks, Stream};
use crate::respond::{Actions, BlockedFile, Report, Responders};
use crate::sentry::{Interrupted, Sentry, ServedPorts};
use crate::signals::Signals;
use crate::summary::Summary;

pub(crate) fn watch(options: &WatchOptions) -> Result<(), Failure> {
    let selection =
        Selection::parse(&options.interface).map_err(|error| Failure::Usage(error.to_string()))?;
    let configuration = load(options)?;
    show_warnings(&configuration);
    // From here on a signal ends the program in good order.
    let signals = Signals::install().map_err(Failure::system("cannot take signals"))?;

    let queue = Arc::new(Queue::default());
    let reporter = Reporter::start(
        Arc::clone(&queue),
        change(options, &configuration)?,
        Sinks { output: Box::new(io::stdout()), error: Box::new(io::stderr()) },
    )
    .map_err(Failure::system("cannot start a thread"))?;
    logging::install(&queue, importance(&options.general));

    let result = run(options, selection, configuration, signals, &queue);
    let unwritten = reporter.finish();
    if unwritten > 0 {
        eprintln!("portsentry: {unwritten} lines were not written, because nobody reads them");
    }
    // After all lines, so that it stands last even if both go to one place.
    eprintln!("{}", result?);
    Ok(())
}

fn load(options: &WatchOptions) -> Result<Configuration, Failure> {
    configuration(
        &options.general,
        Overrides {
            local_check: !options.disable_local_check,
            service_check: !options.disable_service_check,
        },
    )
}

/// How lines are to be written.
fn change(options: &WatchOptions, configuration: &Configuration) -> Result<Change, Failure> {
    let settings = &configuration.settings;
    let history = settings.history_file.as_deref().map(Path::new).map(|path| {
        History::open(path).map_err(|source| Failure::History { path: path.to_owned(), source })
    });
    Ok(Change {
        options: LineOptions {
            importance: importance(&options.general),
            ignore_file: settings.ignore_file.clone().unwrap_or_default(),
        },
        history: history.transpose()?,
        resolve_names: settings.resolve_host,
    })
}

fn run(
    options: &WatchOptions,
    selection: Selection,
    configuration: Configuration,
    signals: Signals,
    queue: &Arc<Queue>,
) -> Result<Summary, Failure> {
    let say = |line: String| queue.push(Item::Line(Stream::Output, line));
    say(format!("Portsentry {VERSION}"));
    describe(&configuration);

    let mut session = Session { options, queue, configuration, never_block: Vec::new() };
    let (actions, blocked) = session.open_actions()?;
    let capture = capture_options(&session.configuration);
    let sensors = SensorSet::open(selection, Box::new(PcapBackend::new(capture)))?;
    let never_block = session.never_block()?;
    let policy = policy(&session.configuration, &never_block);
    let mut sentry = Sentry {
        engine: Engine::new(policy, &Limits::default(), random_key()?),
        sensors,
        served: ServedPorts::new(session.configuration.service_check),
        responders: responders(queue)?,
        actions: Arc::new(actions),
        queue: Arc::clone(queue),
        signals,
    };
    for host in blocked {
        sentry.engine.restore_blocked(host);
    }
    session.say_never_block(never_block);
    say("Portsentry is now active and listening.".to_owned());
    let outcome = session.watch(&mut sentry);
    let summary = sentry.close();
    say("Portsentry is shutting down".to_owned());
    outcome.map(|()| summary)
}

/// The effective configuration, for those who look for a fault.
fn describe(configuration: &Configuration) {
    match &configuration.origin {
        Origin::File(path) => log::debug!("configuration file: {}", path.display()),
        Origin::BuiltIn { missing } => log::warn!(
            "There is no configuration file {}: watching TCP ports {} and UDP ports {} and only logging",
            missing.display(),
            configuration.settings.tcp_ports,
            configuration.settings.udp_ports,
        ),
    }
    for line in configuration.settings.to_string().lines() {
        log::debug!("{line}");
    }
    if configuration.settings.run_as.is_some() {
        log::warn!("RUN_AS has no effect in this version: the user stays the one who started it");
    }
}

fn capture_options(configuration: &Configuration) -> CaptureOptions {
    let settings = &configuration.settings;
    let default = CaptureOptions::default();
    CaptureOptions {
        buffer: settings.capture_buffer.unwrap_or(default.buffer),
        latency: settings
            .capture_latency
            .map_or(default.latency, |ms| Duration::from_millis(ms.into())),
    }
}

fn responders(queue: &Arc<Queue>) -> Result<Responders, Failure> {
    let queue = Arc::clone(queue);
    let tell = move |report: Report| queue.push(Item::Report(report));
    Responders::start(tell).map_err(Failure::system("cannot start a thread"))
}

/// A key that nobody else knows.
fn random_key() -> Result<HashKey, Failure> {
    let mut bits = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bits))
        .map_err(Failure::system("/dev/urandom"))?;
    Ok(HashKey::new(u128::from_ne_bytes(bits)))
}

/// What a reload needs to know about the start.
struct Session<'a> {
    options: &'a WatchOptions,
    queue: &'a Arc<Queue>,
    configuration: Configuration,
    never_block: Vec<IpNet>,
}

impl Session<'_> {
    /// Watches until the end is asked for.
    fn watch(&mut self, sentry: &mut Sentry) -> Result<(), Failure> {
        loop {
            match sentry.run()? {
                Interrupted::Terminate => return Ok(()),
                Interrupted::AddressesChanged => self.refresh_policy(sentry)?,
                Interrupted::Reload => self.reload(sentry),
            }
        }
    }

    /// The actions of the configuration, and the hosts in its blocked file.
    fn open_actions(&self) -> Result<(Actions, Vec<IpAddr>), Failure> {
        let settings = &self.configuration.settings;
        let mut hosts = Vec::new();
        let mut file = None;
        if let Some(path) = &settings.blocked_file {
            let (opened, restored) = BlockedFile::open(Path::new(path))?;
            if restored.torn > 0 {
                log::warn!(
                    "blocked file {path}: cut off {} bytes of an unfinished last record",
                    restored.torn
                );
            }
            log::info!("blocked file {path}: {} hosts", restored.hosts.len());
            hosts = restored.hosts;
            file = Some(opened);
        }
        Ok((Actions::new(settings, file), hosts))
    }

    fn never_block(&self) -> Result<Vec<IpNet>, Failure> {
        never_block(&self.configuration).map_err(Failure::system("network interfaces"))
    }

    /// Says which networks are never acted on, if that is news.
    fn say_never_block(&mut self, networks: Vec<IpNet>) {
        use portsentry_core::config::BlockMode::Log;
        let settings = &self.configuration.settings;
        let responds = settings.block_tcp != Log || settings.block_udp != Log;
        if responds && networks != self.never_block {
            let list: Vec<String> = networks.iter().map(ToString::to_string).collect();
            let list = if list.is_empty() { "nobody".to_owned() } else { list.join(", ") };
            self.queue.push(Item::Line(Stream::Output, format!("Never blocking: {list}")));
        }
        self.never_block = networks;
    }

    fn refresh_policy(&mut self, sentry: &mut Sentry) -> Result<(), Failure> {
        let networks = self.never_block()?;
        sentry.engine.set_policy(policy(&self.configuration, &networks));
        self.say_never_block(networks);
        Ok(())
    }

    /// Takes over a new configuration, whole or not at all.
    fn reload(&mut self, sentry: &mut Sentry) {
        if let Err(failure) = self.try_reload(sentry) {
            for line in failure.to_string().lines() {
                self.queue.push(Item::Line(Stream::Error, line.to_owned()));
            }
            let line = "The new configuration was refused; the old one stays in force.";
            self.queue.push(Item::Line(Stream::Error, line.to_owned()));
        }
    }

    fn try_reload(&mut self, sentry: &mut Sentry) -> Result<(), Failure> {
        let new = load(self.options)?;
        let old = std::mem::replace(&mut self.configuration, new);
        match self.open_all() {
            Ok((change, actions, hosts, never_block)) => {
                self.queue.push(Item::Change(Box::new(change)));
                sentry.actions = Arc::new(actions);
                for host in hosts {
                    sentry.engine.restore_blocked(host);
                }
                sentry.engine.set_policy(policy(&self.configuration, &never_block));
                self.say_what_changed(&old);
                self.say_never_block(never_block);
                Ok(())
            }
            Err(failure) => {
                self.configuration = old;
                Err(failure)
            }
        }
    }

    /// Everything that can fail about a configuration.
    #[allow(clippy::type_complexity)]
    fn open_all(&self) -> Result<(Change, Actions, Vec<IpAddr>, Vec<IpNet>), Failure> {
        let change = change(self.options, &self.configuration)?;
        let (actions, hosts) = self.open_actions()?;
        Ok((change, actions, hosts, self.never_block()?))
    }

    fn say_what_changed(&self, old: &Configuration) {
        let (old, new) = (old, &self.configuration);
        let mut changed: Vec<&str> = KEYS
            .iter()
            .filter(|key| key.value(&old.settings) != key.value(&new.settings))
            .map(|key| key.name)
            .collect();
        if old.ignore != new.ignore {
            changed.push("the ignore list");
        }
        let what = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
        self.queue
            .push(Item::Line(Stream::Output, format!("Configuration read again; changed: {what}")));
        let needs_restart = ["CAPTURE_BUFFER", "CAPTURE_LATENCY"];
        for key in changed.into_iter().filter(|key| needs_restart.contains(key)) {
            log::warn!("{key} takes effect at the next start");
        }
    }
}
