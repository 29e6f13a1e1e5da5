//! Forms of packets that the kernel answers, although some sensor did not see them.
//!
//! The kernel is the judge. Each form sends fifty probes, each to a different port. `tcpdump`
//! captures the answers of the kernel: resets, unreachable ports, replies. Sentries with all
//! capture methods must log each probe that was answered, once. A form is a row in a table of a
//! module of this folder.

mod addresses;
mod fragments;
mod lengths;
mod links;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use portsentry_testbed::{Namespace, SOON, Signal, Testbed, require_root};

use super::{CAPTURES, Wire};
use crate::expected::UDP as DATAGRAM;
use crate::forgery::{Forger, hardware};
use crate::fragments::{Between, Version};
use crate::frames::{TCP, tcp, with};
use crate::probe::{MARKER, datagram, is_marker, port_of, settle};
use crate::station::{Ended, Station};
use crate::witness::Witness;

/// The buffer holds all packets of a form, so that all differences are the form's.
const CONFIGURATION: &str =
    "TCP_PORTS = \"20001-20050\"\nUDP_PORTS = \"20001-20050,65000\"\nCAPTURE_BUFFER = \"64\"\n";

/// The ports of the probes of a form.
const PORTS: std::ops::RangeInclusive<u16> = 20_001..=20_050;

/// Frames per second that the kernel can read, so that its queue of received frames never
/// overflows.
const RATE: u32 = 20_000;

/// A form of packet that the kernel answers.
#[derive(Clone, Copy, Debug)]
struct Form {
    name: &'static str,
    /// Changes the host before the sentries start.
    prepare: fn(&Namespace),
    /// Returns the packets of all probes, from the scanner to the host, in order.
    steps: fn(&Wire) -> Vec<Step>,
}

/// A part of the packets of a form.
enum Step {
    /// Sends these frames.
    Send(Vec<Vec<u8>>),
    /// Sends these frames over the second link.
    SendBySecond(Vec<Vec<u8>>),
    /// Waits for a timer of the kernel.
    Wait(Duration),
    /// Changes the host, and lets the sentries reload their configuration.
    Reload(fn(&Namespace)),
}

const fn form(name: &'static str, prepare: fn(&Namespace), steps: fn(&Wire) -> Vec<Step>) -> Form {
    Form { name, prepare, steps }
}

/// Returns the frames that `frames` returns for the port of each probe, as one step.
fn each(frames: impl FnMut(u16) -> Vec<Vec<u8>>) -> Vec<Step> {
    vec![Step::Send(PORTS.flat_map(frames).collect())]
}

/// Returns a SYN to this port.
fn syn(port: u16) -> Vec<u8> {
    with(&tcp(2), 2, &port.to_be_bytes())
}

/// Returns a SYN to this port with `length` bytes of payload and a correct checksum.
fn long_syn(wire: &Wire, version: Version, port: u16, length: usize) -> Vec<u8> {
    wire.summed(version, TCP, &[syn(port), vec![b'x'; length]].concat())
}

/// Leaves the host as it is.
fn unchanged(_: &Namespace) {}

/// Writes a value to a file below `/proc/sys/net` of the host.
fn set(host: &Namespace, name: &str, value: &str) {
    let path = std::path::Path::new("/proc/sys/net").join(name);
    host.enter(|| std::fs::write(&path, value)).unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// Sends the probes of all forms, and compares the log of the sentries with the answers.
#[track_caller]
fn check(forms: &[Form]) {
    let failures: Vec<_> = forms.iter().flat_map(differences).collect();
    assert!(failures.is_empty(), "{failures:#?}");
}

/// Returns the differences between a form's answers and the log of each sentry.
fn differences(form: &Form) -> Vec<String> {
    let Some(root) = require_root() else { return Vec::new() };
    let bed = Testbed::new(root);
    for end in [&bed.host, &bed.scanner] {
        end.ip(&["link", "set", end.interface(), "mtu", "9000"]);
    }
    add_second_link(&bed);
    // The host answers any source, and the kernel does not limit how many.
    let gateway = bed.scanner.v4().to_string();
    bed.host.ip(&["route", "add", "default", "via", &gateway]);
    bed.host.ip(&["-6", "route", "add", "default", "via", &bed.scanner.v6().to_string()]);
    set(&bed.host, "ipv4/icmp_ratelimit", "0");
    set(&bed.host, "ipv6/icmp/ratelimit", "0");
    (form.prepare)(&bed.host);
    let station = Station::with(&bed.host, CONFIGURATION);
    let mut sentries = CAPTURES.map(|options| (options, station.start(options)));
    let mut witness = Witness::start(&bed.scanner);

    // The kernels know each other's hardware address before the probes arrive.
    bed.scanner.run("ping", &["-c1", "-q", &bed.host.v4().to_string()]);
    bed.scanner.run("ping", &["-c1", "-q", &bed.host.v6().to_string()]);
    let between = Between {
        v4: [bed.scanner.v4().octets(), bed.host.v4().octets()],
        v6: [bed.scanner.v6().octets(), bed.host.v6().octets()],
    };
    let wire = Wire { between, hardware: [hardware(&bed.host), hardware(&bed.scanner)] };
    let forger = Forger::new(&bed);
    for step in (form.steps)(&wire) {
        match step {
            Step::Send(frames) => forger.send(&frames, RATE),
            Step::SendBySecond(frames) => forger.send_by(SECOND, &frames, RATE),
            Step::Wait(time) => std::thread::sleep(time),
            Step::Reload(change) => {
                change(&bed.host);
                for (_, sentry) in &mut sentries {
                    sentry.signal(Signal::HUP);
                    sentry.wait_for_part("Configuration reloaded");
                }
            }
        }
    }
    let ((_, first), others) = sentries.split_first_mut().expect("a sentry");
    settle(&bed, bed.host.v4().into(), first, None);
    for (_, sentry) in others {
        sentry.wait_for_part(&port_of(DATAGRAM, MARKER));
    }
    datagram(&bed.host, bed.host.v4().into(), bed.scanner.v4().into(), MARKER);
    witness.wait_for_port(MARKER, SOON);

    let mut answered = witness.answers(&bed.scanner);
    answered.retain(|port| PORTS.contains(port));
    let mut differences = Vec::new();
    if answered.len() != PORTS.len() {
        differences.push(format!("{}: {} answered", form.name, answered.len()));
    }
    for (options, sentry) in sentries {
        let ended = sentry.stop();
        let logged = logged(&ended);
        let ports: BTreeSet<u16> = logged.keys().copied().collect();
        if ports != answered || logged.values().any(|times| *times > 1) {
            let numbers = (answered.len(), answered.intersection(&ports).count());
            let (name, summary) = (form.name, &ended.stderr);
            differences.push(format!(
                "{name}, {options:?}: {} answered, {} of them logged, in {} lines: {summary:?}",
                numbers.0,
                numbers.1,
                logged.values().sum::<usize>()
            ));
        }
    }
    differences
}

/// The scanner's end of the second link.
const SECOND: &str = "scan1";

/// Adds a second veth pair, on which the host accepts the frames for the first.
fn add_second_link(bed: &Testbed) {
    let Testbed { host, scanner } = bed;
    host.ip(&["link", "add", "host1", "type", "veth", "peer", SECOND, "netns", scanner.name()]);
    let address = hardware(host).map(|byte| format!("{byte:02x}")).join(":");
    host.ip(&["link", "set", "host1", "address", &address, "up"]);
    host.ip(&["address", "add", "10.98.0.1/24", "dev", "host1"]);
    scanner.ip(&["link", "set", SECOND, "up"]);
}

/// Returns the number of lines about each port of the probes.
fn logged(ended: &Ended) -> BTreeMap<u16, usize> {
    let mut ports = BTreeMap::new();
    let lines = ended.between().iter().filter(|line| line.starts_with("Scan from: "));
    for line in lines.filter(|line| !is_marker(line)) {
        let (_, rest) = line.split_once("port: [").expect("a port");
        let port = rest.split(']').next().and_then(|port| port.parse().ok()).expect("a port");
        *ports.entry(port).or_insert(0) += 1;
    }
    ports
}

#[test]
fn probes_to_and_from_unusual_addresses_that_the_kernel_answers_are_logged() {
    check(addresses::FORMS);
}

#[test]
fn tagged_probes_that_the_kernel_answers_are_logged() {
    check(links::FORMS);
}

#[test]
fn fragmented_probes_that_the_kernel_answers_are_logged() {
    check(fragments::FORMS);
}

#[test]
fn long_probes_that_the_kernel_answers_are_logged() {
    check(lengths::FORMS);
}
