//! `portsentry replay`: runs the same engine on capture files.
//!
//! Times are those of the packets, the hash key is a constant, and no response runs. The same files
//! therefore always give the same lines.
//!
//! Replies to queries are reported as probes. A capture file does not show which of its hosts the
//! sentry would run on, and often has only one direction.

use std::io::{self, BufWriter, Write};
use std::path::Path;

use portsentry_capture::{CaptureFile, Drained, Sensor, SensorStats, Targets};
use portsentry_config::{Configuration, Overrides};
use portsentry_core::{Engine, HashKey, Instant, Limits, Policy};
use portsentry_report::{DEBUG_PREFIX, Level, LineOptions};

use crate::arguments::ReplayOptions;
use crate::configuration::{configuration, show_warnings, working_directory};
use crate::failure::Failure;
use crate::runtime::{replay_summary, sandbox};
use portsentry_output::print_final;

/// Number of packets between two reads of the engine's events.
const BATCH: usize = 1024;

pub(crate) fn replay(options: &ReplayOptions) -> Result<(), Failure> {
    let overrides = Overrides::default()
        .with_local_check(!options.disable_local_check)
        .with_service_check(false);
    let configuration = configuration(&options.general, overrides, &working_directory()?)?;
    show_warnings(&configuration);
    // The files can come from any source.
    sandbox::enter_to_read(&configuration.settings, &options.files);
    match run(options, &configuration) {
        // A reader such as `head` closes the pipe when it has read enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn run(options: &ReplayOptions, configuration: &Configuration) -> Result<(), Failure> {
    let mut replay = Replay::new(options, configuration);
    let mut outcome = Ok(());
    for path in &options.files {
        // The next file is read even if this one cannot be read to its end.
        match replay.file(path) {
            Err(failure @ Failure::Sensor(_)) => {
                if let Err(earlier) = std::mem::replace(&mut outcome, Err(failure)) {
                    earlier.show();
                }
            }
            result => result?,
        }
    }
    replay.engine.close();
    replay.write_events()?;
    replay.output.flush().map_err(Failure::Output)?;
    let summary = replay_summary(&replay.stats, &replay.engine.statistics());
    print_final(&summary.to_string());
    outcome
}

struct Replay {
    engine: Engine,
    targets: Targets,
    lines: LineOptions,
    line: Vec<u8>,
    output: BufWriter<io::StdoutLock<'static>>,
    stats: SensorStats,
}

impl Replay {
    fn new(options: &ReplayOptions, configuration: &Configuration) -> Self {
        let policy = Policy {
            block_tcp: false,
            block_udp: false,
            ..configuration.policy(Default::default())
        };
        Self {
            engine: Engine::new(policy, &Limits::default(), HashKey::new(0)),
            targets: match options.host.as_slice() {
                [] => Targets::all(),
                hosts => Targets::within(hosts.iter().copied()),
            },
            lines: LineOptions {
                importance: options.general.importance(),
                ignore_file: configuration.settings.ignore_file.clone().unwrap_or_default(),
            },
            line: Vec::new(),
            output: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
            stats: SensorStats::default(),
        }
    }

    /// Reads one file to its end, or to the first byte that cannot be read.
    fn file(&mut self, path: &Path) -> Result<(), Failure> {
        let mut sensor = CaptureFile::open(path)?.watching(self.targets.clone());
        let result = loop {
            let engine = &mut self.engine;
            let drained = sensor.drain(BATCH, &mut |observation| {
                handle_timeouts(engine, observation.at);
                engine.observe(observation, observation.at);
            });
            self.write_events()?;
            match drained {
                Ok(Drained::End) => break Ok(()),
                Ok(_) => {}
                Err(error) => break Err(error.into()),
            }
        };
        self.stats.merge(&sensor.stats());
        result
    }

    fn write_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.engine.poll_event() {
            let (output, mut result) = (&mut self.output, Ok(()));
            self.lines.format(&event, None, &mut self.line, |level, line| {
                let prefix = if level == Level::Debug { DEBUG_PREFIX } else { "" };
                let parts = [prefix.as_bytes(), line, b"\n"];
                let written = parts.iter().try_for_each(|part| output.write_all(part));
                result = std::mem::replace(&mut result, Ok(())).and(written);
            });
            result.map_err(Failure::Output)?;
        }
        Ok(())
    }
}

/// Runs everything that is due before `now`, the time of a packet.
fn handle_timeouts(engine: &mut Engine, now: Instant) {
    while let Some(due) = engine.poll_timeout().filter(|due| *due <= now) {
        engine.handle_timeout(due);
    }
}

#[cfg(test)]
mod tests {
    use portsentry_core::{Event, Observation, Protocol, ServedPorts, TcpFlags};

    use super::*;

    #[test]
    fn timeouts_expire_between_the_packets_of_a_capture() {
        let policy = Policy { tcp_ports: [80].into_iter().collect(), ..Policy::default() };
        let mut engine = Engine::new(policy, &Limits::default(), HashKey::new(0));
        let any = "0.0.0.0".parse().unwrap();
        engine.set_served_ports(ServedPorts::new([(Protocol::Tcp, any, 80, false)]));
        let mut events = Vec::new();
        for second in [1, 2, 3, 90] {
            let [source, target] =
                ["192.0.2.7:4000", "198.51.100.1:80"].map(|end| end.parse().unwrap());
            let packet = Observation::segment(source, target, TcpFlags::SYN);
            handle_timeouts(&mut engine, Instant::from_secs(second));
            engine.observe(&packet, Instant::from_secs(second));
            events.extend(std::iter::from_fn(|| engine.poll_event()));
        }
        let summaries = events.iter().map(|event| matches!(event, Event::ServedPort { .. }));
        assert_eq!(summaries.collect::<Vec<_>>(), [true, false, true], "{events:?}");
    }
}
