//! A flood of SYNs from forged sources, each another one, while a real scanner
//! probes: every port it probes is told, memory stays bounded, and who is acted
//! on is what the configuration says.
//!
//! `PORTSENTRY_LOAD=full` sends ten million at the pace of a large line; else it
//! is half a million at one that a busy machine keeps up with, too.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use portsentry_testbed::{Signal, Testbed, require_root};
use rustix::process::{Pid, kill_process};

use crate::forgery::Forger;
use crate::station::{SOON, Station};

/// Frames in one capture file for `tcpreplay`.
const CHUNK: u32 = 100_000;

/// Ports that the scanner probes: 1 and so on.
const PORTS: u16 = 100;

/// Resident memory that the documentation promises, in KiB.
const MOST_MEMORY: u64 = 64 << 10;

struct Load {
    frames: u32,
    /// A second.
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

/// A source that is possible and no other number's: neighbours lie far apart.
fn forged(number: u32) -> Ipv4Addr {
    // From 11.0.0.0 to 126.255.255.255. The multiplier is a prime, so it has no
    // divisor in common with their count.
    const COUNT: u64 = 116 << 24;
    let place = u64::from(number) * 2_654_435_761 % COUNT;
    Ipv4Addr::from((11 << 24) + place as u32)
}

/// The most memory it ever had, in KiB.
fn peak_memory(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM");
    line.split_whitespace().nth(1).expect("number").parse().expect("number")
}

/// What a sentry has said, counted while it runs.
#[derive(Debug, Default)]
struct Told {
    /// Ports of probes from the scanner.
    ports: BTreeSet<u16>,
    /// Probes from anyone else.
    others: u32,
    /// Everything but events.
    lines: Vec<String>,
}

impl Told {
    fn read(output: ChildStdout, scanner: IpAddr) -> Self {
        let mut told = Self::default();
        let scanner = format!("Scan from: [{scanner}] ");
        for line in BufReader::with_capacity(1 << 16, output).lines() {
            let line = line.expect("read");
            if line.starts_with(&scanner) {
                let (_, port) = line.split_once("port: [").expect("a port");
                let (port, _) = port.split_once(']').expect("a port");
                told.ports.insert(port.parse().expect("a port"));
            } else if line.starts_with("Scan from: ") {
                told.others += 1;
            } else {
                told.lines.push(line);
            }
        }
        told
    }
}

struct Ended {
    told: Told,
    said: String,
    memory: u64,
    /// How long the flood took.
    took: Duration,
}

/// Sends forged SYNs while nmap scans the same ports; gives what came of it.
fn flood(bed: &Testbed, station: &Station<'_>, options: &[&str], load: &Load) -> Ended {
    let scanner: IpAddr = bed.scanner.v4().into();
    let (forger, target) = (Forger::new(bed), bed.host.v4().into());
    let mut command = station.command(options);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut sentry = Ending(command.spawn().expect("spawn"));
    let output = sentry.0.stdout.take().expect("stdout");
    let mut said = sentry.0.stderr.take().expect("stderr");

    std::thread::scope(|scope| {
        let told = scope.spawn(move || Told::read(output, scanner));
        // The blocked file is there once it watches; a moment before, at worst.
        let deadline = Instant::now() + SOON;
        while !station.path("blocked").exists() {
            assert!(Instant::now() < deadline, "it does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(Duration::from_millis(500));

        // The scan takes as long as most of the flood.
        let seconds = f64::from(load.frames) / f64::from(load.pace);
        let rate = format!("--max-rate={}", f64::from(PORTS) / (seconds * 0.6));
        let ports = format!("-p1-{PORTS}");
        let address = bed.host.v4().to_string();
        let options = ["-sS", "-Pn", "-n", "--send-ip", "--max-retries=2", &rate, &ports, &address];
        let mut scan = bed.scanner.spawn("nmap", &options);
        let began = Instant::now();
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
        let took = began.elapsed();
        let status = scan.wait(Duration::from_secs(300));
        assert!(status.success(), "{}", scan.transcript());

        let memory = peak_memory(sentry.0.id());
        kill_process(Pid::from_child(&sentry.0), Signal::TERM).expect("kill");
        let told = told.join().expect("reader");
        let mut text = String::new();
        said.read_to_string(&mut text).expect("read");
        assert_eq!(sentry.0.wait().expect("wait").code(), Some(0), "{text}");
        Ended { told, said: text, memory, took }
    })
}

/// A process that does not outlive the test.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The hosts in the blocked file, all of IPv4.
fn blocked(station: &Station<'_>) -> Vec<Ipv4Addr> {
    let bytes = fs::read(station.path("blocked")).expect("read");
    let (records, rest) = bytes.as_chunks::<6>();
    assert!(rest.is_empty(), "records of IPv4 alone");
    records.iter().map(|[_, _, a, b, c, d]| Ipv4Addr::new(*a, *b, *c, *d)).collect()
}

/// What the sentry says that it has lost: packets by the kernel, lines by a full
/// queue. None, unless the machine stands still for seconds.
fn lost(told: &Told, said: &str) -> u32 {
    let counts = ["dropped by the kernel", "lines were lost"].into_iter().flat_map(|what| {
        let lines = said.lines().chain(told.lines.iter().map(String::as_str));
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

const RINGS: &str = "CAPTURE_RINGS = \"4\"\n";

#[test]
fn only_the_scanner_is_blocked_during_a_flood() {
    let Some(root) = require_root() else { return };
    check_that_a_scanner_is_seen(&Testbed::new(root), &Load::wanted(), "", &[]);
}

#[test]
fn only_the_scanner_is_blocked_during_a_flood_with_several_rings() {
    let Some(root) = require_root() else { return };
    let load = Load { frames: 200_000, pace: 25_000 };
    check_that_a_scanner_is_seen(&Testbed::new(root), &load, RINGS, &["-m", "raw"]);
}

fn check_that_a_scanner_is_seen(bed: &Testbed, load: &Load, more: &str, options: &[&str]) {
    let station = Station::in_namespace(&bed.host);
    station.configure(&format!("{CONFIGURATION}SCAN_TRIGGER = \"3\"\n{more}"));
    let Ended { told, said, memory, took } = flood(bed, &station, options, load);
    println!("{} frames in {took:?}, {} told, {memory} KiB: {said}", load.frames, told.others);
    let missing: Vec<_> = (1..=PORTS).filter(|port| !told.ports.contains(port)).collect();
    assert!(missing.is_empty(), "ports {missing:?} were not told: {said}");
    assert!(memory < MOST_MEMORY, "{memory} KiB");
    // No forged source has sent more than one.
    assert_eq!(blocked(&station), [bed.scanner.v4()], "{said}");
    assert_eq!(told.others + lost(&told, &said), load.frames, "{said}");
}

#[test]
fn the_rate_limits_blocking_during_a_flood() {
    let Some(root) = require_root() else { return };
    check_that_the_rate_holds(&Testbed::new(root), "", &[]);
}

/// The limit is that of all rings together.
#[test]
fn the_rate_limits_blocking_during_a_flood_with_several_rings() {
    let Some(root) = require_root() else { return };
    check_that_the_rate_holds(&Testbed::new(root), RINGS, &["-m", "raw"]);
}

fn check_that_the_rate_holds(bed: &Testbed, more: &str, options: &[&str]) {
    let load = Load { frames: 100_000, pace: 25_000 };
    let station = Station::in_namespace(&bed.host);
    station.configure(&format!("{CONFIGURATION}BLOCK_RATE = \"60\"\n{more}"));
    let Ended { told, said, took, .. } = flood(bed, &station, options, &load);
    let minutes = took.as_secs() / 60 + 1;
    let hosts = blocked(&station).len() as u64;
    assert!((60..=60 * minutes).contains(&hosts), "{hosts} in {took:?}: {said}");
    assert_eq!(told.ports.len(), usize::from(PORTS), "{said}");
    assert_eq!(told.others + lost(&told, &said), load.frames, "{said}");
    let refused = told.lines.iter().filter(|line| line.starts_with("Did not respond to ")).count();
    assert!(refused > 0, "what was not done is said: {:?}", told.lines);
    // Nobody was asked for more than the rate allows.
    assert!(!said.contains("Not responding to "), "{said}");
}
