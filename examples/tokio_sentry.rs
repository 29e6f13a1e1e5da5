//! A sentry as one part of a program that runs on tokio.
//!
//! Usage: `tokio_sentry [INTERFACE...]`, with `CAP_NET_RAW`; without names, all
//! interfaces. Capture runs on a separate thread, so that no long task can delay it.
//! Events reach the tasks through a bounded channel. If the channel is full, the
//! thread counts and reports the lost events instead of waiting. Ctrl-C stops the
//! program.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant as Clock};

use portsentry_capture::{
    CaptureOptions, Drained, RawBackend, Selection, Sensor, SensorSet, served_ports,
};
use portsentry_core::{Engine, Event, HashKey, Instant, Limits, Policy, PortSet};
use portsentry_report::EventLine;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::{Sender, channel};

/// How long the capture sleeps at most, and how old its snapshot of served ports
/// may be.
const ROUND: Duration = Duration::from_millis(250);

/// Events that may wait for the tasks.
const EVENTS: usize = 4096;

type Failure = Box<dyn Error + Send + Sync>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let names: Vec<String> = std::env::args().skip(1).collect();
    let selection = match names.as_slice() {
        [] => Selection::parse(&["ALL"])?,
        names => Selection::parse(names)?,
    };
    let backend = RawBackend::new(CaptureOptions::default());
    let ports: PortSet = (1..=1023).collect();
    let sensors = SensorSet::builder(selection, backend)
        .tcp_ports(ports.clone())
        .udp_ports(PortSet::new())
        .open()?;
    println!("watching {}", sensors.watched().collect::<Vec<_>>().join(", "));

    // No sender of packets may guess the key.
    let mut key = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let policy = Policy { tcp_ports: ports, ..Policy::default() };
    let engine = Engine::new(policy, &Limits::default(), HashKey::new(u128::from_ne_bytes(key)));

    let (sender, mut events) = channel(EVENTS);
    let capture = thread::spawn(move || watch(sensors, engine, &sender));
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => println!("{}", EventLine::new(&event)),
                // The capture has ended; its result names the reason.
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    // Without a receiver the capture ends within a round.
    drop(events);
    capture.join().map_err(|_| "the capture has panicked")?
}

/// The capture thread: waits, reads, decides and passes events on.
fn watch(
    mut sensors: SensorSet,
    mut engine: Engine,
    events: &Sender<Event>,
) -> Result<(), Failure> {
    let start = Clock::now();
    let now = || Instant::from_nanos(start.elapsed().as_nanos() as u64);
    let mut snapshot: Option<Instant> = None;
    let mut lost = 0_u64;
    while !events.is_closed() {
        let due = engine.poll_timeout().map_or(ROUND, |due| due.since(now()).min(ROUND));
        if let Some(descriptor) = sensors.descriptor() {
            let mut interest = [PollFd::from_borrowed_fd(descriptor, PollFlags::IN)];
            poll(&mut interest, Some(&Timespec::try_from(due)?))?;
        }
        // Packets to served ports are no probes.
        if snapshot.is_none_or(|taken| now().since(taken) >= ROUND) {
            engine.set_served_ports(served_ports()?);
            snapshot = Some(now());
        }
        let drained = sensors.drain(1024, &mut |observation| {
            engine.observe(observation, now());
        })?;
        engine.handle_timeout(now());
        while let Some(event) = engine.poll_event() {
            lost += u64::from(events.try_send(event).is_err());
        }
        if lost > 0 && drained == Drained::Empty && !events.is_closed() {
            eprintln!("{lost} events found the channel full");
            lost = 0;
        }
    }
    Ok(())
}
