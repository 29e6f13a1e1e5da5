//! The sentry itself: open everything, watch, end in good order.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use portsentry_capture::{CaptureOptions, LiveBackend, RawBackend, Selection, SensorSet};
use portsentry_config::{Configuration, Origin};
use portsentry_core::{Engine, HashKey, Limits};

use super::{importance, show_warnings};
use crate::arguments::{Method, VERSION, WatchOptions};
use crate::failure::Failure;
use crate::logging;
use crate::policy::policy;
use crate::report::{Item, Queue, Reporter, Sinks, Stream};
use crate::respond::{Report, Responders};
use crate::sentry::{Sentry, ServedPorts};
use crate::session::{Opened, Session};
use crate::signals::Signals;
use crate::summary::Summary;

pub(crate) fn watch(options: &WatchOptions) -> Result<(), Failure> {
    check_method(options.method)?;
    let selection = selection(options)?;
    let configuration = Session::load(options)?;
    show_warnings(&configuration);
    // From here on a signal ends the program in good order.
    let signals = Signals::install().map_err(Failure::system("cannot take signals"))?;

    let queue = Arc::new(Queue::default());
    let sinks = Sinks { output: Box::new(io::stdout()), error: Box::new(io::stderr()) };
    let reporter = Reporter::start(Arc::clone(&queue), sinks)
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
    let opened = Opened::new(options, &configuration)?;
    let backend = backend(options.method, capture_options(&configuration));
    let mut sentry = Sentry {
        engine: Engine::new(
            policy(&configuration, &opened.never_block),
            &Limits::default(),
            random_key()?,
        ),
        sensors: SensorSet::open(selection, backend)?,
        served: ServedPorts::new(configuration.service_check),
        responders: responders(queue)?,
        actions: Arc::clone(&opened.actions),
        queue: Arc::clone(queue),
        signals,
    };
    let mut session = Session::begin(options, queue, configuration, opened, &mut sentry);
    say("Portsentry is now active and listening.".to_owned());
    let outcome = session.watch(&mut sentry);
    let summary = sentry.close();
    say("Portsentry is shutting down".to_owned());
    outcome.map(|()| summary)
}

/// The interfaces that the options mean.
fn selection(options: &WatchOptions) -> Result<Selection, Failure> {
    let words = match (options.interface.as_slice(), options.method) {
        ([], Method::Pcap) => vec!["ALL_NLO"],
        ([], Method::Raw) => vec!["ALL"],
        (names, method) => names.iter().map(|name| known(name, method)).collect(),
    };
    Selection::parse(&words)
        .and_then(|selection| selection.excluding(&options.exclude))
        .map_err(|error| Failure::Usage(error.to_string()))
}

/// `any` is a device of libpcap's; otherwise all interfaces are as many.
fn known(name: &str, method: Method) -> &str {
    if name == "any" && method == Method::Raw { "ALL" } else { name }
}

/// Whether this build has the method.
fn check_method(method: Method) -> Result<(), Failure> {
    if method == Method::Pcap && !cfg!(feature = "pcap") {
        let message = "this portsentry was built without libpcap, so it cannot read packets \
                       with the method pcap; the method raw is the default here";
        return Err(Failure::Usage(message.to_owned()));
    }
    Ok(())
}

/// The way to capture that was asked for.
fn backend(method: Method, options: CaptureOptions) -> Box<dyn LiveBackend + Send> {
    match method {
        #[cfg(feature = "pcap")]
        Method::Pcap => Box::new(portsentry_capture::PcapBackend::new(options)),
        _ => Box::new(RawBackend::new(options)),
    }
}

/// The effective configuration, for those who look for a fault, and what of it
/// is not what one might think.
fn describe(configuration: &Configuration) {
    let settings = &configuration.settings;
    match &configuration.origin {
        Origin::File(path) => log::debug!("configuration file: {}", path.display()),
        Origin::BuiltIn { missing } => log::warn!(
            "There is no configuration file {}: watching TCP ports {} and UDP ports {}, and only logging",
            missing.display(),
            settings.tcp_ports,
            settings.udp_ports,
        ),
    }
    for line in settings.to_string().lines() {
        log::debug!("{line}");
    }
    if settings.run_as.is_some() {
        log::warn!("RUN_AS has no effect in this version: the user stays the one who started it");
    }
}

fn capture_options(configuration: &Configuration) -> CaptureOptions {
    let settings = &configuration.settings;
    let default = CaptureOptions::default();
    let latency = settings.capture_latency.map(|ms| Duration::from_millis(ms.into()));
    CaptureOptions {
        buffer: settings.capture_buffer.unwrap_or(default.buffer),
        latency: latency.unwrap_or(default.latency),
    }
}

fn responders(queue: &Arc<Queue>) -> Result<Responders, Failure> {
    let queue = Arc::clone(queue);
    Responders::start(move |report: Report| queue.push(Item::Report(report)))
        .map_err(Failure::system("cannot start a thread"))
}

/// A key that nobody else knows.
fn random_key() -> Result<HashKey, Failure> {
    let mut bits = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bits))
        .map_err(Failure::system("/dev/urandom"))?;
    Ok(HashKey::new(u128::from_ne_bytes(bits)))
}
