//! The sentry is stopped, or loses its interface, its descriptors or its memory: it
//! continues afterwards, or ends and reports the reason.

use std::fs;
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use portsentry_testbed::{Namespace, Signal, Testbed, require_root};

use crate::expected::{BLOCKED, FAILED, LOGGED, SYN, UDP, event, nothing_worked};
use crate::forgery::Forger;
use crate::probe::{both_families, datagram, syn};
use crate::station::{Ended, Sentry, Station};

const CONFIGURATION: &str = r#"
UDP_PORTS = "1-65535"
CAPTURE_BUFFER = "1"
"#;

/// Returns the number of packets dropped by the kernel, from the summary.
fn dropped(ended: &Ended) -> usize {
    // The summary is followed by a line for each interface.
    let summary = ended.stderr.iter().find(|line| line.contains(" packets seen, "));
    let (before, _) =
        summary.and_then(|line| line.split_once(" dropped by the kernel,")).expect("a summary");
    before.rsplit(' ').next().expect("a number").parse().expect("a number")
}

#[test]
fn packets_that_arrive_while_it_is_stopped_are_logged_or_counted() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let forger = Forger::new(&bed);
    // A number of packets that fits into the buffer, and one that does not.
    for (number, buffer, fits) in [(1_000, 8, true), (30_000, 1, false)] {
        let station = Station::in_namespace(&bed.host);
        station.configure(&format!("{CONFIGURATION}CAPTURE_BUFFER = \"{buffer}\"\n"));
        let sentry = station.start(&[]);
        let frames: Vec<_> = (1..=number)
            .map(|port| forger.datagram(bed.scanner.v4(), bed.host.v4(), port))
            .collect();
        sentry.signal(Signal::STOP);
        forger.send(&frames, 50_000);
        sentry.signal(Signal::CONT);
        let ended = sentry.stop();
        assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
        let logged = ended.events().len();
        assert_eq!(logged + dropped(&ended), usize::from(number), "{:?}", ended.stderr);
        assert_eq!(dropped(&ended) == 0, fits, "{:?}", ended.stderr);
    }
}

/// Restores both ends of the veth pair as [`Testbed::new`] made them.
fn plug_in(bed: &Testbed) {
    let (host, scanner) = (&bed.host, &bed.scanner);
    let ends = ["link", "add", host.interface(), "type", "veth", "peer", "name"];
    host.ip(&[&ends[..], &[scanner.interface(), "netns", scanner.name()]].concat());
    let address = |end: &Namespace| {
        end.ip(&["address", "add", &format!("{}/24", end.v4()), "dev", end.interface()]);
        end.ip(&["link", "set", end.interface(), "up"]);
    };
    address(scanner);
    address(host);
}

#[test]
fn an_interface_removed_during_a_batch_is_watched_again_later() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let mut sentry = station.start(&["-v", "-i", bed.host.interface()]);
    let file = station.path("storm.pcap");
    for _ in 0..3 {
        // Each new pair has other hardware addresses.
        let forger = Forger::new(&bed);
        let frames: Vec<_> = (1..=50_000)
            .map(|port| forger.datagram(bed.scanner.v4(), bed.host.v4(), port))
            .collect();
        fs::write(&file, crate::forgery::capture(&frames)).expect("write");
        let file = file.to_str().expect("path");
        let options = ["-q", "--pps=50000", "-i", bed.scanner.interface(), file];
        let storm = bed.scanner.spawn("tcpreplay", &options);
        sentry.wait_for_part("Scan from: ");
        bed.host.ip(&["link", "delete", bed.host.interface()]);
        sentry.wait_for_part("is gone");
        drop(storm);
        plug_in(&bed);
        sentry.wait_for(&format!("watching interface {}", bed.host.interface()));
        let (source, target): (IpAddr, IpAddr) = (bed.scanner.v4().into(), bed.host.v4().into());
        datagram(&bed.scanner, source, target, 65_535);
        sentry.wait_for(&event(source, UDP, 65_535, LOGGED));
    }
    assert_eq!(sentry.stop().status.code(), Some(0));
}

/// Restores the descriptor limit of the sentry and its responder, or lowers it to what
/// they have.
fn allow_descriptors(sentry: &Sentry, allow: bool) {
    // Both have more open, but neither polls more than 6: poll(2) fails above the limit.
    let limit = if allow { 1024 } else { 6 };
    for process in [sentry.pid(), sentry.responder()] {
        let mut command = Command::new("prlimit");
        command.args(["--pid", &process.to_string(), &format!("--nofile={limit}:")]);
        assert!(command.status().expect("prlimit").success());
    }
}

const BLOCKING: &str = r#"
TCP_PORTS = "20-30"
BLOCKED_FILE = "{dir}/blocked"
HISTORY_FILE = "{dir}/history"
BLOCK_TCP = "2"
KILL_RUN_CMD = "true"
"#;

#[test]
fn without_descriptors_it_logs_probes_and_later_responds_again() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, BLOCKING);
    let mut sentry = station.start(&[]);
    let [(first, target), (second, target_v6)] = both_families(&bed);

    allow_descriptors(&sentry, false);
    // The responder cannot ask the kernel whether this host needs the source.
    syn(&bed.scanner, first, target, 22);
    sentry.wait_for(&event(first, SYN, 22, LOGGED));
    assert_eq!(fs::read(station.path("blocked")).expect("read"), b"");
    // A reload needs descriptors, so it is refused as a whole.
    sentry.signal(Signal::HUP);
    sentry.wait_for("The new configuration was rejected; the previous one remains in effect.");
    // Takes longer than a second, so that the snapshot of served ports fails several times.
    for port in 23..=27 {
        syn(&bed.scanner, first, target, port);
        sentry.wait_for(&event(first, SYN, port, LOGGED));
        std::thread::sleep(std::time::Duration::from_millis(300));
    }

    allow_descriptors(&sentry, true);
    syn(&bed.scanner, second, target_v6, 22);
    sentry.wait_for(&event(second, SYN, 22, BLOCKED));
    let ended = sentry.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    assert_eq!(fs::read(station.path("blocked")).expect("read").len(), 18);
    let printed = |part: &str| ended.stderr.iter().filter(|line| line.contains(part)).count();
    let prevented = format!("Not responding to {first}: the kernel does not list its routes");
    let logged = ended.stdout.iter().filter(|line| line.starts_with(&prevented)).count();
    assert_eq!(logged, 1, "{ended:#?}");
    assert_eq!(printed("cannot read the socket tables, using the last snapshot"), 1, "{ended:#?}");
    assert_eq!(printed("can read the socket tables again"), 1, "{ended:#?}");
    assert_eq!(station.history().len(), 7);
}

/// With the checks before a response switched off, the action itself fails.
#[test]
fn without_descriptors_commands_fail_and_later_work() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, &format!("{BLOCKING}NEVER_BLOCK = \"\"\n"));
    let mut sentry = station.start(&["-L", "-S"]);
    let [(first, target), (second, target_v6)] = both_families(&bed);

    allow_descriptors(&sentry, false);
    syn(&bed.scanner, first, target, 22);
    sentry.wait_for(&event(first, SYN, 22, FAILED));
    assert_eq!(fs::read(station.path("blocked")).expect("read"), b"");
    allow_descriptors(&sentry, true);
    syn(&bed.scanner, second, target_v6, 22);
    sentry.wait_for(&event(second, SYN, 22, BLOCKED));
    let ended = sentry.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:#?}");
    let printed = |part: &str| ended.stderr.iter().filter(|line| line.contains(part)).count();
    let why = "cannot run /bin/sh: Too many open files (os error 24)";
    assert_eq!(printed(&format!("KILL_RUN_CMD for {first}: {why}")), 1, "{ended:#?}");
    assert_eq!(printed(&nothing_worked(first)), 1, "{ended:#?}");
}

#[test]
fn with_too_little_memory_it_does_not_start() {
    let Some(root) = require_root() else { return };
    let alone = Namespace::isolated(root);
    let station =
        Station::with(&alone, "TCP_PORTS = \"1-1000\"\nHISTORY_FILE = \"{dir}/history\"\n");
    let started = |kibibytes: u32| {
        let sentry = station.command(&["-i", "lo"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("ulimit -v {kibibytes}; exec \"$@\""), "sh"]);
        shell.arg(sentry.get_program()).args(sentry.get_args());
        shell
    };
    for kibibytes in [25_000, 40_000, 60_000] {
        let ended = Ended::running(started(kibibytes));
        assert_eq!(ended.status.code(), Some(1), "{kibibytes}: {ended:#?}");
        let printed =
            "portsentry: cannot reserve 64 MiB of memory, the most that portsentry can need";
        assert_eq!(
            ended.stderr.first().map(String::as_str),
            Some(printed),
            "{kibibytes}: {ended:#?}"
        );
        assert!(!station.path("history").exists(), "{kibibytes}");
    }
    let sentry = Sentry::watching(started(400_000));
    assert_eq!(sentry.stop().status.code(), Some(0));
}

#[test]
fn every_loss_is_counted_if_it_is_stopped_repeatedly_during_a_flood() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let forger = Forger::new(&bed);
    let sentry = station.start(&[]);
    let frames: Vec<_> =
        (1..=40_000).map(|port| forger.datagram(bed.scanner.v4(), bed.host.v4(), port)).collect();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for signal in [Signal::STOP, Signal::CONT] {
                    sentry.signal(signal);
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
            }
        });
        forger.send(&frames, 20_000);
        over.store(true, Ordering::Relaxed);
    });
    let ended = sentry.stop();
    assert_eq!(ended.status.code(), Some(0), "{:?}", ended.stderr);
    assert_eq!(ended.events().len() + dropped(&ended), 40_000, "{:?}", ended.stderr);
}
