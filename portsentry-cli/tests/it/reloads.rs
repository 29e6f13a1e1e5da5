//! Reload by SIGHUP: the new configuration applies completely or not at all, and no packet
//! is lost.

use std::fs;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::thread;
use std::time::Duration;

use portsentry_testbed::{Signal, Testbed, require_root, wait_until};

use crate::expected::{BELOW_TRIGGER, BLOCKED, IGNORED, LOGGED, SYN, UDP, already_blocked, event};
use crate::forgery::Forger;
use crate::probe::{both_families, datagram, is_marker, port_of, settle, syn};
use crate::station::{Sentry, Station};

const CONFIGURATION: &str = r#"
TCP_PORTS = "20-30"
UDP_PORTS = "20-30,65000"
HISTORY_FILE = "{dir}/history"
"#;

/// Requests a reload and waits for the message that `what` has changed.
#[track_caller]
fn reload(sentry: &mut Sentry, what: &str) {
    sentry.signal(Signal::HUP);
    sentry.wait_for(&format!("Configuration reloaded; changed: {what}"));
}

#[test]
fn changed_keys_take_effect_and_are_logged() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let mut sentry = station.start(&[]);
    for (source, target) in both_families(&bed) {
        let probe_ports = || {
            for port in [22, 42] {
                datagram(&bed.scanner, source, target, port);
            }
        };
        probe_ports();
        settle(&bed, target, &mut sentry, None);
        station.configure(&format!("{CONFIGURATION}UDP_PORTS = \"40-50,65000\""));
        reload(&mut sentry, "UDP_PORTS");
        probe_ports();
        settle(&bed, target, &mut sentry, None);
        station.write("ignore", &source.to_string());
        let ignoring = "UDP_PORTS = \"40-50,65000\"\nIGNORE_FILE = \"{dir}/ignore\"";
        station.configure(&format!("{CONFIGURATION}{ignoring}"));
        reload(&mut sentry, "IGNORE_FILE, the ignore list");
        probe_ports();
        sentry.wait_for(&event(source, UDP, 42, IGNORED));
        station.configure(CONFIGURATION);
        reload(&mut sentry, "UDP_PORTS, IGNORE_FILE, the ignore list");
        reload(&mut sentry, "nothing");
    }
    let ended = sentry.stop();
    let events: Vec<_> = ended.events().into_iter().filter(|line| !is_marker(line)).collect();
    let expected = both_families(&bed).map(|(source, _)| {
        [(22, LOGGED), (42, LOGGED), (42, IGNORED)].map(|(port, end)| event(source, UDP, port, end))
    });
    assert_eq!(events, expected.concat());
}

#[test]
fn an_invalid_configuration_is_refused_as_a_whole() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let path = station.path("portsentry.conf");
    let refused = "The new configuration was rejected; the previous one remains in effect.";
    let mut expected = Vec::new();
    let mut check = |sentry: &mut Sentry, text: &str, printed: &[String]| {
        station.write("portsentry.conf", &station.expand(text));
        sentry.signal(Signal::HUP);
        sentry.wait_for(refused);
        expected.extend_from_slice(printed);
        expected.push(refused.to_owned());
        datagram(&bed.scanner, source, target, 22);
        sentry.wait_for(&event(source, UDP, 22, LOGGED));
    };
    let at = |place: &str, printed: &str| format!("{}:{place}: error: {printed}", path.display());
    check(
        &mut sentry,
        "UDP_PORTS = \"40\"\nTCP_PORTS = \"x\"\n",
        &[
            at(
                "2:14",
                "`x` is not a port; write ports and ranges, separated by commas: `1,7,10-20`",
            ),
            "    TCP_PORTS = \"x\"".to_owned(),
            "                 ^".to_owned(),
        ],
    );
    // This configuration is valid as a text, but the folder of the history is a file.
    let history = format!("{}/sub/history", path.display());
    check(
        &mut sentry,
        &format!("UDP_PORTS = \"40\"\nHISTORY_FILE = \"{history}\"\n"),
        &[
            format!("cannot open the history file {history}: Not a directory (os error 20)"),
            "Make it writable for this user, or change HISTORY_FILE in the configuration."
                .to_owned(),
        ],
    );
    let ended = sentry.stop();
    assert_eq!(ended.stderr[..expected.len()], expected);
    assert_eq!(ended.events().len(), 2);
}

#[test]
fn counters_and_blocked_hosts_survive_a_reload() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let block = r#"
BLOCKED_FILE = "{dir}/blocked"
BLOCK_TCP = "2"
KILL_RUN_CMD = "true"
SCAN_TRIGGER = "2"
"#;
    let station = Station::with(&bed.host, &format!("{CONFIGURATION}{block}"));
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    syn(&bed.scanner, source, target, 20);
    sentry.wait_for(&event(source, SYN, 20, BELOW_TRIGGER));
    reload(&mut sentry, "nothing");
    syn(&bed.scanner, source, target, 21);
    sentry.wait_for(&event(source, SYN, 21, BLOCKED));
    station.configure(&format!("{CONFIGURATION}{block}KILL_RUN_CMD = \"echo\""));
    reload(&mut sentry, "KILL_RUN_CMD");
    syn(&bed.scanner, source, target, 22);
    sentry.wait_for(&already_blocked(source));
    sentry.wait_for(&event(source, SYN, 22, BLOCKED));
    sentry.stop();
    assert_eq!(fs::read(station.path("blocked")).expect("read").len(), 6, "recorded once");
}

#[test]
fn a_moved_history_is_created_again() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, CONFIGURATION);
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    datagram(&bed.scanner, source, target, 20);
    sentry.wait_for(&event(source, UDP, 20, LOGGED));
    fs::rename(station.path("history"), station.path("history.1")).expect("rename");
    reload(&mut sentry, "nothing");
    datagram(&bed.scanner, source, target, 21);
    sentry.wait_for(&event(source, UDP, 21, LOGGED));
    sentry.stop();
    assert_eq!(station.history(), [event(source, UDP, 21, LOGGED)]);
    let [moved] = &station.lines("history.1")[..] else { panic!("not exactly one line") };
    assert_eq!(moved[29..], event(source, UDP, 20, LOGGED));
}

#[test]
fn reloads_under_traffic_lose_no_probe() {
    const FIRST: u16 = 1_024;
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    // On a busy machine a reload takes long, and the packets wait in the buffer.
    let wide = "UDP_PORTS = \"1024-65535\"\nCAPTURE_BUFFER = \"64\"";
    let station = Station::with(&bed.host, &format!("{CONFIGURATION}{wide}"));
    let [(source, target), _] = both_families(&bed);
    let mut sentry = station.start(&[]);
    let socket = bed.scanner.enter(|| UdpSocket::bind((source, 0))).expect("bind");
    let (sent, enough) = (AtomicU16::new(FIRST), AtomicBool::new(false));
    let last = thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for port in FIRST.. {
                socket.send_to(b"probe", (target, port)).expect("send");
                sent.store(port, Ordering::Relaxed);
                if enough.load(Ordering::Relaxed) || port == u16::MAX {
                    return port;
                }
                thread::sleep(Duration::from_micros(100));
            }
            unreachable!("there are no ports beyond");
        });
        for round in 0..20 {
            // The ports remain the same; the change itself is tested.
            let more = format!("{wide}\nSCAN_TRIGGER = \"{}\"", round % 2);
            station.configure(&format!("{CONFIGURATION}{more}"));
            let before = sent.load(Ordering::Relaxed);
            sentry.signal(Signal::HUP);
            sentry.wait_for_part("Configuration reloaded");
            while sent.load(Ordering::Relaxed) < before + 25 {
                thread::yield_now();
            }
        }
        enough.store(true, Ordering::Relaxed);
        sender.join().expect("sender")
    });
    sentry.wait_for(&event(source, UDP, last, LOGGED));
    let ended = sentry.stop();
    let expected: Vec<_> = (FIRST..=last).map(|port| event(source, UDP, port, LOGGED)).collect();
    let (logged, printed) = (ended.events(), &ended.stderr);
    assert!(logged == expected, "{} of {}: {printed:?}", logged.len(), expected.len());
    assert!(station.history() == expected, "the history");
}

#[test]
fn a_reload_applies_the_setting_that_routes_loopback() {
    let Some(root) = require_root() else { return };
    let bed = Testbed::new(root);
    let station = Station::with(&bed.host, "TCP_PORTS = \"22\"\nUDP_PORTS = \"65000\"\n");
    let forger = Forger::new(&bed);
    let source = bed.scanner.v4().into();
    let mut sentry = station.start(&[]);
    let set = |value: &str| {
        let path = "/proc/sys/net/ipv4/conf/all/route_localnet";
        bed.host.enter(|| fs::write(path, value)).expect("write");
    };
    let (loopback, mut probes) = (IpAddr::from([127, 0, 0, 1]), 0);
    for (value, is_probe) in [("0", false), ("1", true), ("0", false)] {
        set(value);
        sentry.signal(Signal::HUP);
        sentry.wait_for_part("Configuration reloaded");
        // The setting is read soon after the reload.
        wait_until("the setting is applied", || {
            forger.send(&[forger.syn(source, loopback, 22)], 1_000);
            settle(&bed, bed.host.v4().into(), &mut sentry, None);
            let probe = port_of(SYN, 22);
            let seen = sentry.lines().iter().filter(|line| line.text.contains(&probe)).count();
            let is_seen = seen > probes;
            probes = seen;
            is_seen == is_probe
        });
    }
    assert!(probes > 0);
}
