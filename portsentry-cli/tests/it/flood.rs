//! A flood of SYNs, each from another forged source, while a real scanner probes. The
//! sentry must log every port that the scanner probes, keep its memory bounded, and block
//! the hosts that the configuration defines, and no other.
//!
//! With `PORTSENTRY_LOAD=full` a test sends ten million packets at the rate of a fast line.
//! Otherwise it sends half a million, at a rate that a busy machine can handle.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use portsentry_testbed::{SOON, Signal, Testbed, require_root};
use rustix::process::{Pid, kill_process};

use crate::forgery::Forger;
use crate::station::Station;

/// Number of frames in a capture file for `tcpreplay`.
const CHUNK: u32 = 100_000;

/// Number of ports that the scanner probes, from 1 on.
const PORTS: u16 = 100;

/// Resident memory that the documentation promises, in KiB.
const MOST_MEMORY: u64 = 64 << 10;

struct Load {
    frames: u32,
    /// Frames per second.
    pace: u32,
}

impl Load {
    fn wanted() -> Self {
        match std::env::var("PORTSENTRY_LOAD").as_deref() {
            Ok("full") => Self { frames: 10_000_000, pace: 100_000 },
            _ => Self { frames: 500_000, pace: 25_000 },
        }
    }
}

/// Returns a valid source, different for each number; neighbours are far apart.
fn forged(number: u32) -> Ipv4Addr {
    // From 11.0.0.0 to 126.255.255.255. The multiplier is a prime, so it has no divisor in
    // common with the number of addresses.
    const COUNT: u64 = 116 << 24;
    let place = u64::from(number) * 2_654_435_761 % COUNT;
    Ipv4Addr::from((11 << 24) + place as u32)
}

/// Returns the highest resident memory of the process so far, in KiB.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).expect("number").parse().expect("number")
}

/// The output of a sentry, counted while it runs.
#[derive(Debug, Default)]
struct Log {
    /// Ports of probes from the scanner.
    ports: BTreeSet<u16>,
    /// Number of probes from other sources.
    others: u32,
    /// Lines that are not about a probe.
    lines: Vec<String>,
}

impl Log {
    /// Reads `output` to its end. Sends to `watches` when the sentry is active.
    fn read(output: ChildStdout, scanner: IpAddr, watches: &Sender<()>) -> Self {
        let mut log = Self::default();
        let scanner = format!("Scan from: [{scanner}] ");
        for line in BufReader::with_capacity(1 << 16, output).lines() {
            let line = line.expect("read");
            if line.starts_with(&scanner) {
                let (_, port) = line.split_once("port: [").expect("a port");
                let (port, _) = port.split_once(']').expect("a port");
                log.ports.insert(port.parse().expect("a port"));
            } else if line.starts_with("Scan from: ") {
                log.others += 1;
            } else {
                if line == "Portsentry is now active and listening." {
                    watches.send(()).expect("the test waits");
                }
                log.lines.push(line);
            }
        }
        log
    }
}

struct Ended {
    log: Log,
    printed: String,
    memory: u64,
    /// Duration of the flood.
    took: Duration,
}

/// Sends forged SYNs while nmap scans the same ports, and returns the results.
fn flood(bed: &Testbed, station: &Station<'_>, options: &[&str], load: &Load) -> Ended {
    let scanner: IpAddr = bed.scanner.v4().into();
    let (forger, target) = (Forger::new(bed), bed.host.v4().into());
    let mut command = station.command(options);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut sentry = Ending(command.spawn().expect("spawn"));
    let output = sentry.0.stdout.take().expect("stdout");
    let mut printed = sentry.0.stderr.take().expect("stderr");

    std::thread::scope(|scope| {
        let (watches, started) = mpsc::channel();
        let log = scope.spawn(move || Log::read(output, scanner, &watches));
        started.recv_timeout(SOON).expect("the sentry starts");

        // The scan takes as long as most of the flood.
        let seconds = f64::from(load.frames) / f64::from(load.pace);
        let rate = format!("--max-rate={}", f64::from(PORTS) / (seconds * 0.6));
        let ports = format!("-p1-{PORTS}");
        let address = bed.host.v4().to_string();
        let options = ["-sS", "-Pn", "-n", "--send-ip", "--max-retries=2", &rate, &ports, &address];
        let mut scan = bed.scanner.spawn("nmap", &options);
        let start = Instant::now();
        let mut sent = 0;
        while sent < load.frames {
            let last = (sent + CHUNK).min(load.frames);
            let frames: Vec<_> = (sent..last)
                .map(|number| {
                    let port = (number % u32::from(PORTS)) as u16 + 1;
                    forger.syn(forged(number).into(), target, port)
                })
                .collect();
            forger.send(&frames, load.pace);
            sent = last;
        }
        let took = start.elapsed();
        let status = scan.wait(Duration::from_secs(300));
        assert!(status.success(), "{}", scan.transcript());

        let memory = peak_memory(sentry.0.id());
        kill_process(Pid::from_child(&sentry.0), Signal::TERM).expect("kill");
        let log = log.join().expect("reader");
        let mut text = String::new();
        printed.read_to_string(&mut text).expect("read");
        assert_eq!(sentry.0.wait().expect("wait").code(), Some(0), "{text}");
        Ended { log, printed: text, memory, took }
    })
}

/// A process that is killed on drop.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the hosts in the blocked file, which are all of IPv4.
fn blocked(station: &Station<'_>) -> Vec<Ipv4Addr> {
    let bytes = fs::read(station.path("blocked")).expect("read");
    let (records, rest) = bytes.as_chunks::<6>();
    assert!(rest.is_empty(), "the file contains other records than those of IPv4");
    records.iter().map(|[_, _, a, b, c, d]| Ipv4Addr::new(*a, *b, *c, *d)).collect()
}

/// Returns the reported losses: packets dropped by the kernel, and lines lost from a full
/// queue. There are none unless the machine stalls for seconds.
fn lost(log: &Log, printed: &str) -> u32 {
    let counts = ["dropped by the kernel", "lines were lost"].into_iter().flat_map(|what| {
        let lines = printed.lines().chain(log.lines.iter().map(String::as_str));
        lines.filter_map(move |line| {
            line.split_once(what)?.0.trim().rsplit(' ').next()?.parse::<u32>().ok()
        })
    });
    counts.sum()
}

const CONFIGURATION: &str = r#"
TCP_PORTS = "1-1000"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "2"
KILL_RUN_CMD = "true"
"#;

#[cfg(feature = "rings")]
const RINGS: &str = "CAPTURE_RINGS = \"4\"\n";

#[test]
fn only_the_scanner_is_blocked_during_a_flood() {
    let Some(root) = require_root() else { return };
    check_that_a_scanner_is_seen(&Testbed::new(root), &Load::wanted(), "", &[]);
}

#[cfg(feature = "rings")]
#[test]
fn only_the_scanner_is_blocked_during_a_flood_with_several_rings() {
    let Some(root) = require_root() else { return };
    let load = Load { frames: 200_000, pace: 25_000 };
    check_that_a_scanner_is_seen(&Testbed::new(root), &load, RINGS, &["-m", "raw"]);
}

fn check_that_a_scanner_is_seen(bed: &Testbed, load: &Load, more: &str, options: &[&str]) {
    let station = Station::in_namespace(&bed.host);
    station.configure(&format!("{CONFIGURATION}SCAN_TRIGGER = \"3\"\n{more}"));
    let Ended { log, printed, memory, took } = flood(bed, &station, options, load);
    println!(
        "{} frames in {took:?}, {} probes of forged sources, {memory} KiB: {printed}",
        load.frames, log.others
    );
    let missing: Vec<_> = (1..=PORTS).filter(|port| !log.ports.contains(port)).collect();
    assert!(missing.is_empty(), "ports {missing:?} were not logged: {printed}");
    assert!(memory < MOST_MEMORY, "{memory} KiB");
    // Each forged source has sent a single packet.
    assert_eq!(blocked(&station), [bed.scanner.v4()], "{printed}");
    assert_eq!(log.others + lost(&log, &printed), load.frames, "{printed}");
}

#[test]
fn the_rate_limits_blocking_during_a_flood() {
    let Some(root) = require_root() else { return };
    check_that_the_rate_holds(&Testbed::new(root), "", &[]);
}

/// The limit applies to all rings together.
#[cfg(feature = "rings")]
#[test]
fn the_rate_limits_blocking_during_a_flood_with_several_rings() {
    let Some(root) = require_root() else { return };
    check_that_the_rate_holds(&Testbed::new(root), RINGS, &["-m", "raw"]);
}

fn check_that_the_rate_holds(bed: &Testbed, more: &str, options: &[&str]) {
    let load = Load { frames: 100_000, pace: 25_000 };
    let station = Station::in_namespace(&bed.host);
    station.configure(&format!("{CONFIGURATION}BLOCK_RATE = \"60\"\n{more}"));
    let Ended { log, printed, took, .. } = flood(bed, &station, options, &load);
    let minutes = took.as_secs() / 60 + 1;
    let hosts = blocked(&station).len() as u64;
    assert!((60..=60 * minutes).contains(&hosts), "{hosts} in {took:?}: {printed}");
    assert_eq!(log.ports.len(), usize::from(PORTS), "{printed}");
    assert_eq!(log.others + lost(&log, &printed), load.frames, "{printed}");
    let refused = log.lines.iter().filter(|line| line.starts_with("Did not respond to ")).count();
    assert!(refused > 0, "refused responses must be logged: {:?}", log.lines);
    // No response was refused for another reason.
    assert!(!printed.contains("Not responding to "), "{printed}");
}
