//! The sentry: opens everything, drops the rights that are not needed, watches, ends cleanly.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use portsentry_config::{Configuration, Origin};
use portsentry_core::{Engine, HashKey};
use portsentry_report::{Notice, Summary};
use portsentry_respond::{Client, Notification};

use crate::arguments::{LogOutput, VERSION, WatchOptions};
use crate::configuration::{from_responder, show_warnings, working_directory};
use crate::failure::Failure;
use crate::logging;
use crate::runtime::{
    Background, Heartbeat, Manager, PreparedConfig, Sentry, ServedPorts, Session, Shard, Shards,
    Signals, SourceHash, Watching, Workers, background, limits, policy, rings, sandbox,
};
use portsentry_output::{Console, LogItem, Outputs, Queue, Reporter, Syslog, print_final};

pub(crate) fn watch(options: &WatchOptions) -> Result<(), Failure> {
    let watching = Watching::from_options(options)?;
    let background = match (options.daemon, Background::enter()) {
        (true, None) => return background::start(),
        (_, background) => background,
    };
    let directory = working_directory()?;
    ensure_memory(1)?;
    // From here on a signal ends the program cleanly.
    let signals = Signals::install().map_err(Failure::system("cannot install signal handlers"))?;
    let queue = Arc::new(Queue::default());
    // The responder reads the configuration, and both processes evaluate it. This process reports
    // the errors completely, and before all other lines.
    let mut responder =
        start_responder(&queue).map_err(Failure::system("cannot start the responder"))?;
    responder.load();
    let configuration = from_responder(options, &directory, &mut responder)
        .inspect_err(|_| write_queued(options, &queue))?;
    // After the configuration was read. Bound sockets have no rings.
    ensure_memory(if options.connect { 1 } else { rings(&configuration.settings) })?;
    show_warnings(&configuration);

    let outputs = outputs(options).map_err(Failure::system("cannot open the log outputs"))?;
    let lines = Arc::clone(&queue);
    logging::install(options.general.importance(), move |level, text| {
        lines.push(LogItem::Notice(Notice::Message { level, text }));
    });
    let start = Start { options, directory, queue: &queue, background };
    let prepared = start.prepare(watching, configuration, signals, responder);
    // No thread may start earlier: it would keep the rights that the others have dropped.
    let reporter = Reporter::start(Arc::clone(&queue), outputs)
        .map_err(Failure::system("cannot start a thread"))?;
    let result = prepared.and_then(|prepared| start_watching(start, prepared));
    let unwritten = reporter.finish();
    if unwritten > 0 {
        print_final(&format!(
            "portsentry: {unwritten} lines could not be written to the log or the history; check free space, permissions and the reader of the output"
        ));
    }
    // Printed after all lines, so that it is the last one even if both go to the same output.
    print_final(&result?.to_string());
    Ok(())
}

/// Writes the lines of a start that fails before the reporter runs, such as the signal that ended
/// the responder.
fn write_queued(options: &WatchOptions, queue: &Arc<Queue>) {
    // Without outputs, only the failure itself is reported.
    let reporter = outputs(options).and_then(|it| Reporter::start(Arc::clone(queue), it));
    let _ = reporter.map(Reporter::finish);
}

/// Starts this program with the same arguments as the responder, which reports to `queue`.
fn start_responder(queue: &Arc<Queue>) -> io::Result<Client> {
    let mut command = Command::new("/proc/self/exe");
    command
        .arg0("portsentry: responder")
        .args(std::env::args_os().skip(1))
        .env_remove(background::VARIABLE);
    let queue = Arc::clone(queue);
    Client::start(command, move |notification| {
        queue.push(match notification {
            Notification::Report(report) => LogItem::Report(report),
            Notification::Notice(notice) => LogItem::Notice(notice),
            Notification::History(history) => LogItem::History(Box::new(history)),
        });
    })
}

/// Memory that a sentry can need under any load, in bytes.
const MEMORY: usize = 64 << 20;

/// Memory that each ring after the first needs in addition, in bytes: the queries of this host,
/// packets that can be seen twice, and accepted connections.
const RING_MEMORY: usize = 7 << 20;

/// Memory of the queues between several rings, in bytes.
const MAIL_MEMORY: usize = 8 << 20;

/// Returns an error if the memory for all tables and queues cannot be allocated: a failure at the
/// start is better than one under attack.
fn ensure_memory(rings: u16) -> Result<(), Failure> {
    let further = usize::from(rings.saturating_sub(1));
    let memory = MEMORY + RING_MEMORY * further + if further > 0 { MAIL_MEMORY } else { 0 };
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(memory);
    // Without this the compiler removes the unused allocation.
    std::hint::black_box(&room);
    reserved.map_err(|_| Failure::Memory { mebibytes: memory >> 20 })
}

/// Everything that exists at the start of the program.
struct Start<'a> {
    options: &'a WatchOptions,
    directory: PathBuf,
    queue: &'a Arc<Queue>,
    background: Option<Background>,
}

/// Everything that is open before the sentry watches.
struct Prepared {
    sentry: Sentry,
    configuration: Configuration,
    opened: PreparedConfig,
}

impl Start<'_> {
    /// Opens everything, and then gives up the rights that were needed.
    fn prepare(
        &self,
        watching: Watching<'_>,
        configuration: Configuration,
        signals: Signals,
        mut responder: Client,
    ) -> Result<Prepared, Failure> {
        let Self { options, queue, .. } = self;
        queue.push(LogItem::Notice(Notice::Started { version: VERSION }));
        // The responder opens files at the same time.
        let hash = SourceHash::new(random_bits()?);
        let sensors = watching.open(&configuration, hash, queue)?;
        let opened = PreparedConfig::take(options, &configuration, &mut responder)?;
        describe(&configuration);
        // The user is looked up first, because the files for it are out of reach later.
        let user = sandbox::user(&configuration.settings)?;
        let key = HashKey::new(random_bits()?);
        sandbox::enter(options.connect, &configuration.settings, user.as_ref())?;
        let policy = policy(&configuration, &opened.never_block);
        let limits = limits(sensors.len());
        let engines = sensors.len() as u64;
        let mut shards = sensors.into_iter().enumerate().map(|(ring, sensors)| {
            let engine = Engine::new(policy.clone(), &limits, key.clone())
                .with_response_ids(ring as u64, engines);
            let served = ServedPorts::new(engines as usize);
            Shard::new(engine, sensors, served, queue)
        });
        let workers =
            match (shards.next(), shards.len()) {
                (Some(shard), 0) => Workers::Here(Box::new(shard)),
                (first, _) => {
                    let shards = Shards::new(first.into_iter().chain(shards).collect(), hash);
                    Workers::Threads(Box::new(shards.map_err(Failure::system(
                        "cannot create the queues of the packet threads",
                    ))?))
                }
            };
        let sentry = Sentry {
            workers,
            responder,
            queue: Arc::clone(queue),
            signals,
            heartbeat: Heartbeat::new(Manager::from_environment()),
        };
        Ok(Prepared { sentry, configuration, opened })
    }
}

/// Watches until the end is requested.
fn start_watching(start: Start<'_>, prepared: Prepared) -> Result<Summary, Failure> {
    let Start { options, directory, queue, background } = start;
    let Prepared { mut sentry, configuration, opened } = prepared;
    sentry.workers.start()?;
    let mut session =
        Session::activate(options, &directory, queue, configuration, opened, &mut sentry);
    queue.push(LogItem::Notice(Notice::Listening));
    sentry.heartbeat.manager.ready(&session.status());
    if let Some(background) = background {
        background.ready().map_err(Failure::system("cannot continue in the background"))?;
    }
    let outcome = session.watch(&mut sentry);
    sentry.heartbeat.manager.stopping();
    let summary = sentry.close();
    queue.push(LogItem::Notice(Notice::ShuttingDown));
    outcome.map(|()| summary)
}

/// Returns the outputs of the log: standard output by default, and in the background the system's
/// log.
fn outputs(options: &WatchOptions) -> io::Result<Outputs> {
    let syslog = options.daemon || options.logoutput.contains(&LogOutput::Syslog);
    let console = !options.daemon && options.logoutput.contains(&LogOutput::Stdout);
    let console = console.then(|| {
        let (output, error) = (io::stdout().as_fd().try_clone_to_owned()?, io::stderr());
        let error = error.as_fd().try_clone_to_owned()?;
        io::Result::Ok(Console::new(output.into(), error.into(), stdout_is_journal()))
    });
    let syslog = syslog.then(|| Syslog::new(&options.syslog_socket));
    Ok(Outputs { console: console.transpose()?, syslog })
}

/// Returns whether standard output goes to the journal of systemd, which reads the severity of each
/// line (`systemd.exec(5)`, `JOURNAL_STREAM`).
fn stdout_is_journal() -> bool {
    let Ok(stat) = rustix::fs::fstat(io::stdout()) else { return false };
    std::env::var("JOURNAL_STREAM").is_ok_and(|id| id == format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Logs the effective configuration, and warns if it is the built-in one.
fn describe(configuration: &Configuration) {
    let settings = &configuration.settings;
    match &configuration.origin {
        Origin::File(path) => log::debug!("configuration file: {}", path.display()),
        Origin::BuiltIn { missing, .. } => log::warn!(
            "There is no configuration file {}: watching TCP ports {} and UDP ports {}, and only logging",
            missing.display(),
            settings.tcp_ports,
            settings.udp_ports,
        ),
        _ => {}
    }
    for line in settings.to_string().lines() {
        log::debug!("{line}");
    }
}

/// Returns random bits for a secret key.
fn random_bits() -> Result<u128, Failure> {
    let mut bits = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bits))
        .map_err(Failure::system("cannot read /dev/urandom"))?;
    Ok(u128::from_ne_bytes(bits))
}
