//! Measures the cost of a line from the queue to the file, in nanoseconds: the event is
//! queued as the packet thread does it, then the reporter formats and writes the line.
//!
//! Each round queues as many events as the queue holds, in batches, and ends when the last
//! line is written. Two more rows are printed: the lines per second, and the processor time of
//! both threads per line, which does not depend on the load of other programs.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portsentry_benches::{Times, is_wanted};
use portsentry_core::{Event, IpOptions, Observation, Reason, TcpFlags, Timestamp};
use portsentry_output::{Change, Console, LogItem, Outputs, Queue, Reporter};
use portsentry_report::LineOptions;
use portsentry_respond::History;
use rustix::time::{ClockId, clock_gettime};

/// Number of events in a round; below the capacity of the queue, so that none is lost.
const EVENTS: u32 = 60_000;

/// Number of events that are queued under one lock.
const BATCH: u32 = 1_000;

const ROUNDS: usize = 20;

fn main() -> io::Result<()> {
    println!();
    Times::print_heading();
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("lines");
    for (name, log, history) in
        [("log", true, false), ("history", false, true), ("log and history", true, true)]
    {
        let name = format!("write to a file, {name}");
        if !is_wanted(&name) {
            continue;
        }
        // Opens the history here, where an error ends the program, unlike in the rounds.
        History::open(&path)?;
        let before = processor_time();
        let times = Times::of_batches(ROUNDS, EVENTS as usize, || {
            let history = history.then(|| History::open(&path)).and_then(Result::ok);
            let output = if log { path.as_path() } else { Path::new("/dev/null") };
            write(File::options().append(true).open(output).ok(), history)
        });
        times.print(&name);
        let used = (processor_time() - before).as_nanos() as f64;
        println!("{:<38} {:>8} {:>8.0}", "  lines a second", "", 1e9 / times.median);
        let lines = ROUNDS as f64 * f64::from(EVENTS);
        println!("{:<38} {:>8} {:>8.1}", "  processor time", "", used / lines);
    }
    let lines = std::fs::read_to_string(&path)?.lines().count();
    assert!(lines.is_multiple_of(EVENTS as usize), "{lines} lines: some are missing");
    Ok(())
}

/// Returns the processor time of all threads.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32)
}

/// Returns the nanoseconds until all lines are written.
fn write(output: Option<File>, history: Option<History>) -> u128 {
    let queue = Arc::new(Queue::default());
    let error = File::options().append(true).open("/dev/stderr").ok();
    let console = output.zip(error).map(|(output, error)| Console::new(output, error, false));
    let outputs = Outputs { console, syslog: None };
    let change = Change { options: LineOptions::default(), history, resolve_names: false };
    let Ok(reporter) = Reporter::start(Arc::clone(&queue), outputs) else { return 0 };
    queue.push(LogItem::Change(Box::new(change)));
    let start = Instant::now();
    for first in (0..EVENTS).step_by(BATCH as usize) {
        queue.extend((first..first + BATCH).map(|number| LogItem::Event(event(number))));
    }
    assert_eq!(reporter.finish(), 0, "lines that were not written");
    start.elapsed().as_nanos()
}

fn event(number: u32) -> Event {
    let source = std::net::Ipv4Addr::from_bits(0xc633_6400 | number);
    let target = SocketAddr::from(([192, 0, 2, 1], number as u16));
    let observation = Observation::segment((source, 40_000).into(), target, TcpFlags::SYN)
        .stamped(Timestamp::from_seconds_micros(1_795_368_423, i64::from(number)))
        .on(2)
        .with_ip_options(IpOptions::Absent);
    Event::probe(observation, Reason::LogOnly)
}
